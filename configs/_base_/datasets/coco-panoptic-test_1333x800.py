# COCO 2017 panoptic, 5000 validation pictures, 133 classes, as unpacked: val2017/, annotations/panoptic_val2017.json,
# annotations/panoptic_val2017/. Evaluation only: short side 800, at most 1333, resized by Pillow.
# One data set for three tasks: the samples hold the truth of all of them, and `--task` picks an evaluator.
dataset_type = 'COCOPanopticSegments'
data_root = 'data/coco'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333),
    # after the resize: the score is taken at the size of the picture
    dict(type='LoadPanopticSegments'),
    dict(type='PackPanopticInputs'),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img_path='val2017', seg_map_path='annotations/panoptic_val2017'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
task_evaluators = dict(
    semantic=dict(type='SemanticMetric'),
    panoptic=dict(type='PanopticQualityMetric'),
    instance=dict(type='MaskAPMetric'),
)
val_evaluator = task_evaluators['panoptic']
test_evaluator = val_evaluator
