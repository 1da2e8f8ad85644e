# CLIP-DINOiser at batch 16: 100 epochs of 63 iterations; the correlation convolution learns at 5e-5, the foreground
# convolution at 1e-2, both ten times slower after iteration 5000.
_base_ = './iterations.py'
max_iters = 6300
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'bkg_decoder': dict(lr_mult=200.0)}),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[5000], gamma=0.1, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(interval=1260))
