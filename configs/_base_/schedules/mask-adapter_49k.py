# Mask-Adapter's mixed training on FC-CLIP: 49,286 iterations at batch 24.
_base_ = './mask-adapter-warmup_296k.py'
max_iters = 49286
param_scheduler = [
    dict(type='MultiStepLR', milestones=[43371, 47314], gamma=0.1, by_epoch=False, begin=0, end=max_iters)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=3300)
auto_scale_lr = dict(base_batch_size=24)
