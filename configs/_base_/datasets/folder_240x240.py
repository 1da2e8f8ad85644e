# A folder of one's own (normal/, defects, masks/), shorter side 240, measured at the size of the pictures.
_base_ = './anomalies.py'
test_pipeline = [
    dict(type='LoadPicture'),
    dict(type='LoadAnomalyMask'),
    dict(type='ResizePicture', size=240, mask=False),
    dict(type='PackAnomalyInputs'),
]
test_dataloader = dict(
    dataset=dict(
        type='AnomalyFolderDataset',
        data_root='data/inspection',
        split='test',
        object_name='object',
        pipeline=test_pipeline,
    )
)
val_dataloader = test_dataloader
test_evaluator = dict(pixels='binned')
val_evaluator = test_evaluator
