# PASCAL Context, all 459 classes (5105 pictures), 16-bit labels; short side 800 as context59_1333x800.py.
# Get it there: denseclip convert pascal_context459 VOC2010 MATRICES data/VOCdevkit/VOC2010_459
_base_ = './context59_1333x800.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalContextDataset459'
data_root = 'data/VOCdevkit/VOC2010_459'
test_pipeline = eval_steps(
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333), num_classes=459, wide=True
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(seg_map_path='SegmentationClassContext459'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
