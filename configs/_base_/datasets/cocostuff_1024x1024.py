# COCO-Stuff 164k as Mask-Adapter's warm-up on MAFT+ takes it: the long side 1024, no crop, colours changed.
_base_ = './cocostuff_1333x800.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=171),
    dict(type='PillowResizeShortSide', short_side=1024, max_long_side=1024),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
