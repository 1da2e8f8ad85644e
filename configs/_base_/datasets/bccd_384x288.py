# BCCD: blood cells, 205/87/72 pictures of 640 x 480, made 384 x 288. Prepare it, from a checkout of
# github.com/Shenggan/BCCD_Dataset: denseclip convert bccd BCCD_Dataset data/BCCD
_base_ = './coco_detection_1333x800.py'
from denseclip.recipes import box_eval_steps

dataset_type = 'BCCDDataset'
data_root = 'data/BCCD'
img_scale = (384, 288)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),  # a smear has no up and down
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='PackDetInputs'),
]
test_pipeline = box_eval_steps(img_scale)
train_dataloader = dict(
    _delete_=True,  # no batches of like shapes: all pictures have one
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val'),
        pipeline=test_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_test.json',
        data_prefix=dict(img='test'),
        pipeline=test_pipeline,
    )
)
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val.json')
test_evaluator = dict(ann_file=f'{data_root}/annotations/instances_test.json')
