# Tower and mask prompts of the small CLIP in one run.
_base_ = './adapt-ft_vit-xs8_300_miniworld-64x64.py'
model = dict(train='both', prompt_depth=3)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(mask_embedding=dict(lr_mult=100.0, decay_mult=0.0))))
