# COCO 2017 panoptic, training only, as Mask-Adapter's warm-up takes it: crops of 768 pixels.
_base_ = './coco-panoptic-lsj_1024x1024.py'
crop_size = (768, 768)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticSegments'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=crop_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackPanopticInputs', with_instances=True),
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
