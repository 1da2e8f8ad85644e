# Boxes and masks of miniworld's 20 kinds of things, in COCO's layout.
# Write it by: denseclip miniworld data/miniworld_instances --layout coco --size 128x128 --count 400 --val-count 100
_base_ = './coco_instance_1333x800.py'
from denseclip.recipes import box_eval_steps, box_train_steps

dataset_type = 'MiniworldInstances'
data_root = 'data/miniworld_instances'
img_scale = (128, 128)

train_pipeline = box_train_steps(img_scale)
test_pipeline = box_eval_steps(img_scale, masks=True)
train_dataloader = dict(
    batch_size=8,
    batch_sampler=None,
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        filter_cfg=dict(_delete_=True, filter_empty_gt=True, min_size=8),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
