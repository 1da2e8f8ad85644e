# OVSeg's recipe on Swin-B: AdamW 6e-5, 120k iterations of 32 pictures (8 GPUs x 4), gradients clipped to 0.01.
# No decay for norms, queries and Swin's position tables; warm-up and polynomial decay are multiplied.
_base_ = './iterations.py'
max_iters = 120000
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='DetectronOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(backbone_lr_mult=1.0),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [
    dict(
        type='WarmupPolyLR',
        power=0.9,
        eta_min=0.0,
        warmup=1500,
        warmup_ratio=1e-6,
        by_epoch=False,
        begin=0,
        end=max_iters,
    )
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
auto_scale_lr = dict(enable=False, base_batch_size=32)
