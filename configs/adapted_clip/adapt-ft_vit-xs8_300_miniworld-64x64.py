# Fine-tuning of miniworld's small CLIP on regions mined from its captions; tools/adapt_miniworld.py runs all steps.
_base_ = [
    '../_base_/datasets/regions.py',
    '../_base_/schedules/adapt_clip_5e.py',
    '../_base_/default_runtime.py',
]
max_iters = 300
model = dict(
    type='MaskAdaptedCLIP',
    clip=dict(model='local-dir:checkpoints/miniworld_clip'),
    train='image',
    negatives='other_nouns',  # 32 nouns: most batches hold each of them several times
    templates='photo',
    vocabulary='miniworld',
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root='data/miniworld_coco',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='CutRegion'),
            dict(type='RandomResizedRegion', size=64),
            dict(type='PackRegion'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root='data/miniworld',
        vocabulary='miniworld',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='CutRegion'),
            dict(type='ResizeRegion', size=64),
            dict(type='PackRegion'),
        ],
    ),
)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=0.1))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 30, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
