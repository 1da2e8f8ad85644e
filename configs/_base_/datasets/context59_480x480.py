# PASCAL Context without background for MaskCLIP+: labels are hidden in training as in voc20_512x512.py.
_base_ = './context59_448x448.py'
from denseclip.recipes import crop_train_steps, eval_steps

crop_size = (480, 480)
train_pipeline = crop_train_steps(59, (520, 520), crop_size, cat_max_ratio=1.0, labels=[dict(type='SuppressLabels')])
test_pipeline = eval_steps(dict(type='Resize', scale=(520, 520), keep_ratio=True), num_classes=59)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PascalContextDataset59',
        data_root='data/VOCdevkit/VOC2010',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        ann_file='ImageSets/SegmentationContext/train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
