# Cityscapes panoptic, 500 validation pictures, 19 classes; files by denseclip convert cityscapes_panoptic.
# Evaluation only, at the pictures' own size of 2048 x 1024.
# One data set for three tasks: the samples hold the truth of all of them, and `--task` picks an evaluator.
dataset_type = 'CityscapesPanopticSegments'
data_root = 'data/cityscapes'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=1024, max_long_side=2048),
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
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/cityscapes_panoptic_val'),
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
