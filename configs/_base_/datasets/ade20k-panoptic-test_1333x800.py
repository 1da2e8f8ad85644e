# ADE20K panoptic: validation (2000 pictures), 150 classes; files: denseclip convert ade20k_panoptic.
# Evaluation only, as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, resized by Pillow.
# One data set for three tasks: the samples hold the truth of all of them, and `--task` picks an evaluator.
dataset_type = 'ADE20KPanopticSegments'
data_root = 'data/ade/ADEChallengeData2016'

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
        ann_file='ade20k_panoptic_val.json',
        data_prefix=dict(img_path='images/validation', seg_map_path='ade20k_panoptic_val'),
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
