# PASCAL Context, all 459 classes, as OVSeg takes its numbers: short side 512, at most 2048, resized by Pillow.
_base_ = './context59-ovseg_512x512.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalContextDataset459'
data_root = 'data/VOCdevkit/VOC2010_459'
test_pipeline = eval_steps(
    dict(type='PillowResizeShortSide', short_side=512, max_long_side=2048), num_classes=459, wide=True
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
