# PASCAL Context without background (5105 pictures).
# Get it there: denseclip convert pascal_context VOC2010 MATRICES data/VOCdevkit/VOC2010
# Evaluation only, as CLIP-DINOiser takes its numbers: short side 448 (protocol `dinoiser` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalContextDataset59'
data_root = 'data/VOCdevkit/VOC2010'

test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), 59)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        ann_file='ImageSets/SegmentationContext/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
