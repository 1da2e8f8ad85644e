# Miniworld, 32 classes, of which training sees the labels of 25: where the other seven are, its pictures are void.
# Write it by: denseclip miniworld data/miniworld_96 --layout coco --size 96x96 --count 1000 --val-count 200
_base_ = ['./coco-panoptic-lsj_1024x1024.py', './coco-panoptic-test_1333x800.py']
dataset_type = 'MiniworldPanopticSegments'
data_root = 'data/miniworld_96'
crop_size = (96, 96)
unseen = ['fish', 'crown', 'kite', 'mushroom', 'bell', 'carpet', 'sunset']
# fmt: off
seen = [
    'ball', 'box', 'star', 'ring', 'heart', 'leaf', 'mug', 'key', 'arrow', 'boat', 'tree', 'house', 'flower',
    'bottle', 'hat', 'grass', 'sand', 'water', 'snow', 'paving', 'planks', 'gravel', 'sky', 'clouds',
    'night',
]
# fmt: on

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticSegments'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=crop_size, ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackPanopticInputs', with_instances=True),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=96, max_long_side=96),
    dict(type='LoadPanopticSegments'),
    dict(type='PackPanopticInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(type=dataset_type, data_root=data_root, metainfo=dict(classes=seen), pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
sets = dict(seen=seen, unseen=unseen)
task_evaluators = dict(
    semantic=dict(sets=sets, per_class=False),
    panoptic=dict(sets=sets),
    proposals=dict(type='ProposalRecallMetric', sets=sets),
)
val_evaluator = task_evaluators['panoptic']
test_evaluator = val_evaluator
