# ADE20K, full annotation: validation (2000 pictures), 847 classes, 16-bit labels.
# Get it there: denseclip convert ade20k_full ADE20K_2021_17_01 data/ade20k_full
# Evaluation only, as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, resized by Pillow.
dataset_type = 'ADE20KFullDataset'
data_root = 'data/ade20k_full'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333),
    # after the resize: the score is taken at the size of the label map
    dict(type='LoadWideAnnotations'),
    dict(type='CheckLabelRange', num_classes=847, ignore_index=65535),
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
val_evaluator = dict(type='SemanticMetric')
test_evaluator = val_evaluator
