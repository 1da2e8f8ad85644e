# Tower and mask prompts in one run, each at its own learning rate (5e-6 and 0.05). Ours: the paper trains them in turn.
_base_ = './adapt-ft_vit-l14_5e_cococaptions-224x224.py'
model = dict(train='both', prompt_depth=3)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(mask_embedding=dict(lr_mult=1e4, decay_mult=0.0))))
