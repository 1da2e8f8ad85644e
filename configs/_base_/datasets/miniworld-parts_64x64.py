# Parts of miniworld, good and damaged: denseclip miniworld data/miniworld_parts --layout mvtec --count 2 --val-count 16
_base_ = './anomalies.py'
from denseclip.recipes import anomaly_steps

test_pipeline = anomaly_steps((64, 64))
test_dataloader = dict(
    dataset=dict(type='MVTecADDataset', data_root='data/miniworld_parts', split='test', pipeline=test_pipeline)
)
val_dataloader = test_dataloader
