# Mask prompts on top of the fine-tuned small CLIP, the order of OVSeg's released recipe.
_base_ = './adapt-mpt_vit-xs8_300_miniworld-64x64.py'
model = dict(clip=dict(model='local-dir:work_dirs/adapt-ft_vit-xs8_300_miniworld-64x64/clip'))
