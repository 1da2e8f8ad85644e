# A learnt pair of prompts (CLIP-LIT) in place of AnoVL's sentences, from good parts and from good parts that are spoilt
# on the fly: no picture with a true defect is seen. The good parts are written by:
# denseclip miniworld data/miniworld_good --layout mvtec --count 20 --val-count 1 --seed 5
_base_ = ['./anovl-tfa_vit-xs8_miniworld-64x64.py', '../_base_/schedules/hooks.py']
max_iters = 300
model = dict(pair=dict(length=8))
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='MVTecADDataset',
        data_root='data/miniworld_good',
        split='train',
        pipeline=[
            dict(type='LoadImageFromFile', imdecode_backend='pillow'),
            dict(type='LoadAnomalyMask'),
            dict(type='SyntheticDefect', prob=0.5),
            dict(type='ResizePicture', size=(64, 64), mask=True),
            dict(type='PackAnomalyInputs'),
        ],
    ),
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.0),
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
randomness = dict(seed=0)
