# SPAR on miniworld's small CLIP, which was trained on pictures of 64. Training pictures are drawn on the fly and have
# 96 to 128 pixels; the test set is written by:
# denseclip miniworld data/miniworld --layout ade20k --count 20 --val-count 200 --size 128x128
_base_ = [
    '../_base_/models/inputs_clip.py',
    '../_base_/datasets/miniworld_128x128.py',
    '../_base_/schedules/iterations.py',
    '../_base_/default_runtime.py',
]
max_iters = 300
model = dict(
    type='SPAR',
    data_preprocessor=dict(size_divisor=8),
    clip=dict(model='local-dir:checkpoints/miniworld_clip', preset='maskclip'),
    vocabulary='miniworld',
    templates='photo',
    window=64,
    stride=12,
    window_batch=64,
    test_cfg=dict(mode='whole'),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        type='MiniworldPictures',
        size=(128, 128),
        pipeline=[
            dict(type='RandomPart', share=(0.4, 1.0), least=96, multiple=8, prob=0.5),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(num_workers=1)
test_dataloader = val_dataloader
# Few iterations and a small network: the blocks learn faster than in the paper's recipe.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4),
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
randomness = dict(seed=0)
