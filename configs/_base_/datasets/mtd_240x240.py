# Magnetic-tile defects, shorter side 240, measured at the size of the pictures.
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnomalyMask', threshold=127),
    dict(type='ResizePicture', size=240, mask=False),
    dict(type='PackAnomalyInputs'),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='MagneticTileDataset', data_root='data/magnetic_tile', split='test', pipeline=test_pipeline),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='AnomalyMetric')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()
