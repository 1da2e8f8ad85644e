# PASCAL VOC 2012 without background for MaskCLIP+: labels are hidden in training; pseudo-labels take their place.
_base_ = './voc20_448x448.py'
from denseclip.recipes import crop_train_steps, eval_steps

crop_size = (512, 512)
train_pipeline = crop_train_steps(20, (2048, 512), crop_size, cat_max_ratio=1.0, labels=[dict(type='SuppressLabels')])
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 512), keep_ratio=True), num_classes=20)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PascalVOC20Dataset',
        data_root='data/VOCdevkit/VOC2012',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
