# PASCAL Context without background (5105 pictures).
# Get it there: denseclip convert pascal_context VOC2010 MATRICES data/VOCdevkit/VOC2010
# Evaluation only, as CLIP-DINOiser takes its numbers: short side 448 (protocol `dinoiser` of docs/protocols.md).
dataset_type = 'PascalContextDataset59'
data_root = 'data/VOCdevkit/VOC2010'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    # after Resize: the score is taken at the size of the label map
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
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
