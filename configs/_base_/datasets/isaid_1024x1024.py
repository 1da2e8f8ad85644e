# iSAID from above in MESS's tiles of 1024: val, background and 15 classes, 255 outside of the picture.
# Get it there: mess/prepare_datasets/prepare_isaid.py of github.com/blumenstiel/MESS
# Evaluation only, at short side 1024 (protocol `domains` of docs/protocols.md).
dataset_type = 'iSAIDDataset'
data_root = 'data/isaid'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    # after Resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=16),
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
        data_prefix=dict(img_path='images_detectron2/val', seg_map_path='annotations_detectron2/val'),
        seg_map_suffix='.png',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
