# CLIP-DINOiser on miniworld, with the small CLIP and the small DINO of configs/miniworld (exported to these folders).
# There is no FOUND decoder for that DINO: its untrained first step is the teacher. Training pictures are drawn on the
# fly; the test set is written by:
# denseclip miniworld data/miniworld --layout ade20k --count 20 --val-count 200 --size 128x128
_base_ = [
    '../_base_/models/inputs_clip.py',
    '../_base_/datasets/label_maps.py',
    '../_base_/schedules/dinoiser_6k.py',
    '../_base_/default_runtime.py',
]
crop_size = (64, 64)
max_iters = 1000
dino = dict(
    type='DINOTower',
    model_name='local-dir:checkpoints/miniworld_dino',
    pretrained='local-dir:checkpoints/miniworld_dino',
)
model = dict(
    type='CLIPDINOiser',
    data_preprocessor=dict(size=crop_size),
    clip=dict(model='local-dir:checkpoints/miniworld_clip', preset='dinoiser'),
    head=dict(type='DINOiserHead', embed_dim=64, kernel_size=3),
    feature_layer=-3,
    vocabulary='miniworld',
    correlation_teacher=dict(type='DINOTeacher', feature='value', tower=dino),
    foreground_teacher=dict(type='FOUNDSeedTeacher', tower=dino),
    gamma=0.9,  # the small DINO's cosines are high; chosen on 80 training pictures among 0.2 (the paper's) ... 0.97
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
            dict(type='RandomBrightness', strength=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='MiniworldDataset',
        data_root='data/miniworld',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='CheckLabelRange', num_classes=32),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
# Few iterations and small networks: both convolutions learn faster than in the paper's recipe.
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(bkg_decoder=dict(lr_mult=10.0))))
param_scheduler = [dict(type='MultiStepLR', milestones=[800], gamma=0.1, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
