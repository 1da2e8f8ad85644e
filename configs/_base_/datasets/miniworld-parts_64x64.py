# Parts of miniworld, good and damaged: denseclip miniworld data/miniworld_parts --layout mvtec --count 2 --val-count 16
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnomalyMask'),
    dict(type='ResizePicture', size=(64, 64), mask=True),
    dict(type='PackAnomalyInputs'),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='MVTecADDataset', data_root='data/miniworld_parts', split='test', pipeline=test_pipeline),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='AnomalyMetric')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()
