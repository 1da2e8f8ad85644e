# Mask models on miniworld: AdamW 5e-4, warm-up, polynomial decay, 1,500 iterations of 8 pictures.
_base_ = './iterations.py'
max_iters = 1500
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='PromptGuideOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(backbone_lr_mult=0.1),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
param_scheduler = [
    dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, warmup=50, warmup_ratio=1e-3, begin=0, end=max_iters)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(enable=False, base_batch_size=8)
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=1))
