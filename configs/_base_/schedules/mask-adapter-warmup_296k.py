# Mask-Adapter's warm-up: AdamW 1e-4, ten times slower after 260,231 and again after 283,888 of 295,717 iterations at
# batch 8.
_base_ = './iterations.py'
max_iters = 295717
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='DetectronOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[260231, 283888], gamma=0.1, by_epoch=False, begin=0, end=max_iters)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(enable=False, base_batch_size=8)
randomness = dict(seed=0)
