# LoveDA from above: val (1669 pictures), 7 classes; id 0 of the files, no data, is ignored.
# Get it there: tools/dataset_converters/loveda.py of MMSegmentation
# Evaluation only, at short side 1024 (protocol `domains` of docs/protocols.md).
dataset_type = 'LoveDADataset'
data_root = 'data/loveDA'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    # after Resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=7),
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
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
