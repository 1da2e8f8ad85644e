# VisA as the authors measure: shorter side 240, their AUPRO and image AP.
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnomalyMask'),
    dict(type='ResizePicture', size=240, mask=True),
    dict(type='PackAnomalyInputs'),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='VisADataset', data_root='data/visa', split='test', pipeline=test_pipeline),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='AnomalyMetric', aupro='anovl', image_ap='trapezoid')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()
