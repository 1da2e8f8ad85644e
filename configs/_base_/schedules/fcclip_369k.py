# FC-CLIP: AdamW 1e-4, ten times slower after 327,778 and again after 355,092 of 368,750 iterations at batch 16.
_base_ = './iterations.py'
max_iters = 368750
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='DetectronOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(backbone_lr_mult=0.1),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[327778, 355092], gamma=0.1, by_epoch=False, begin=0, end=max_iters)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=0)
