# Mask prompts on top of the smaller fine-tuned tower; 4 GPUs x 32, as for the large one.
_base_ = './adapt-ft-mpt_vit-l14_5e_cococaptions-224x224.py'
model = dict(clip=dict(model='local-dir:work_dirs/adapt-ft_vit-b16_5e_cococaptions-224x224/clip'))
