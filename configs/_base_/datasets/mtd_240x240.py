# Magnetic-tile defects, shorter side 240, measured at the size of the pictures.
_base_ = './anomalies.py'
from denseclip.recipes import anomaly_steps

test_pipeline = anomaly_steps(240, mask=False, threshold=127)
test_dataloader = dict(
    dataset=dict(type='MagneticTileDataset', data_root='data/magnetic_tile', split='test', pipeline=test_pipeline)
)
val_dataloader = test_dataloader
