# PASCAL Context, all 459 classes (5105 pictures), 16-bit labels (PC-459).
# Get it there: denseclip convert pascal_context459 VOC2010 MATRICES data/VOCdevkit/VOC2010_459
# Evaluation only, at short side 448 (protocol `large` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalContextDataset459'
data_root = 'data/VOCdevkit/VOC2010_459'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), num_classes=459, wide=True)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext459'),
        ann_file='ImageSets/SegmentationContext/val.txt',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SemanticMetric', per_class=False)
test_evaluator = val_evaluator
