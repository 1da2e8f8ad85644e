# COCO-Stuff 164k: val2017 (5000 pictures), 171 classes.
# Get it there: denseclip convert coco_stuff164k COCO data/coco_stuff164k
# Evaluation only, as CLIP-DINOiser takes its numbers: short side 448 (protocol `dinoiser` of docs/protocols.md).
dataset_type = 'COCOStuffDataset'
data_root = 'data/coco_stuff164k'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    # after Resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=171),
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
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
