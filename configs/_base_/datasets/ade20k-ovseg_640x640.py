# ADE20K: validation (2000 pictures), 150 classes. ADEChallengeData2016.zip unpacked into data/ade.
# Evaluation only, as OVSeg takes its numbers: short side 640, at most 2560, resized by Pillow.
dataset_type = 'ADE20KDataset'
data_root = 'data/ade/ADEChallengeData2016'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=640, max_long_side=2560),
    # after the resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=150),
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
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='SemanticMetric', divisor='gt_or_predicted')
test_evaluator = val_evaluator
