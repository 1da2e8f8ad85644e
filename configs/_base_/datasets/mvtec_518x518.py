# MVTec AD squashed to 518 x 518, exact measures.
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnomalyMask'),
    dict(type='ResizePicture', size=(518, 518), mask=True),
    dict(type='PackAnomalyInputs'),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='MVTecADDataset', data_root='data/mvtec_ad', split='test', pipeline=test_pipeline),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='AnomalyMetric')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()
