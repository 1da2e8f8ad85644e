# MAFT+: AdamW 1e-4 (the trunk a tenth of it), polynomial decay without warm-up, 55,000 iterations at batch 8.
_base_ = './iterations.py'
max_iters = 55000
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='DetectronOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=2e-5),
    paramwise_cfg=dict(backbone_lr_mult=0.1),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, warmup=0, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
auto_scale_lr = dict(enable=False, base_batch_size=8)
randomness = dict(seed=123)
