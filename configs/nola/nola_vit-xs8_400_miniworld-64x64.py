# Coupled prompts of miniworld's small CLIP, read as MaskCLIP, learnt without a label from what ProxyCLIP with
# miniworld's DINO is surest of. Training pictures are drawn on the fly; the test set is written by:
# denseclip miniworld data/miniworld --layout ade20k --count 20 --val-count 200 --size 128x128
_base_ = [
    '../_base_/models/inputs_clip.py',
    '../_base_/datasets/miniworld_128x128.py',
    '../_base_/schedules/iterations.py',
    '../_base_/default_runtime.py',
]
crop_size = (64, 64)
max_iters = 400
clip = 'local-dir:checkpoints/miniworld_clip'
dino = dict(model_name='local-dir:checkpoints/miniworld_dino', pretrained='local-dir:checkpoints/miniworld_dino')
model = dict(
    type='NoLA',
    data_preprocessor=dict(size=crop_size),
    clip=dict(model=clip, preset='maskclip'),
    teacher=dict(
        type='OpenVocabularySegmentor',
        clip=dict(model=clip, preset='proxyclip'),
        affinity=dict(type='DINOAffinity', dino=dino),
        templates='photo',
        merge='mean',
        output='probabilities',
    ),
    vocabulary='miniworld',
    templates='photo',
    deep_prompts=dict(length=2, depth=2),  # the small text tower has two blocks
    test_cfg=dict(mode='whole'),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        type='MiniworldPictures',
        size=(96, 96),
        pipeline=[
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(num_workers=1)
test_dataloader = val_dataloader
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=10, end=max_iters),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
randomness = dict(seed=0)
