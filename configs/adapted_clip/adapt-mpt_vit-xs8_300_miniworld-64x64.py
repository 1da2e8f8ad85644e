# Mask prompts alone, on miniworld's small CLIP as it is.
_base_ = './adapt-ft_vit-xs8_300_miniworld-64x64.py'
model = dict(train='prompts', prompt_depth=3)
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=0.0))
