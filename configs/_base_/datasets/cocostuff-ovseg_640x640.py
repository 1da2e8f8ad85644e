# COCO-Stuff 164k as OVSeg trains on it: crops of 640 pixels out of pictures of sixteen sizes.
_base_ = './cocostuff-ovseg_512x512.py'
crop_size = (640, 640)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=171),
    dict(type='PillowResizeShortSide', short_side=list(range(320, 1281, 64)), max_long_side=2560, labels='floor'),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
