# MVTec AD squashed to 518 x 518, exact measures.
_base_ = './anomalies.py'
from denseclip.recipes import anomaly_steps

test_pipeline = anomaly_steps((518, 518))
test_dataloader = dict(
    dataset=dict(type='MVTecADDataset', data_root='data/mvtec_ad', split='test', pipeline=test_pipeline)
)
val_dataloader = test_dataloader
