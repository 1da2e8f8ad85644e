# PASCAL Context without background (5105 pictures).
# Get it there: denseclip convert pascal_context VOC2010 MATRICES data/VOCdevkit/VOC2010
# Evaluation only, as OVSeg takes its numbers: short side 512, at most 2048, resized by Pillow.
dataset_type = 'PascalContextDataset59'
data_root = 'data/VOCdevkit/VOC2010'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=512, max_long_side=2048),
    # after the resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=59),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        ann_file='ImageSets/SegmentationContext/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='SemanticMetric', divisor='gt_or_predicted')
test_evaluator = val_evaluator
