# COCO-Stuff 164k as OVSeg trains on it: 171 classes, crops of 512 pixels, filled up with grey and "ignored".
# The released config names no resize, so that detectron2's own holds: short side 800, at most 1333.
# Get it there: denseclip convert coco_stuff164k COCO data/coco_stuff164k
_base_ = './cocostuff_1333x800.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=171),
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333, labels='floor'),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
