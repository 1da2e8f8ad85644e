# SPAR: ten epochs of 25,000 pictures, one at a time, two to a step (the authors have two GPUs with one each); a
# constant learning rate and half precision.
_base_ = './iterations.py'
max_iters = 250000
optim_wrapper = dict(
    type='AmpOptimWrapper',
    accumulative_counts=2,
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=2e-5, betas=(0.9, 0.999), weight_decay=1e-4),
)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=25000)
auto_scale_lr = dict(enable=False, base_batch_size=2)
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(interval=25000))
