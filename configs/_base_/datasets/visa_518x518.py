# VisA squashed to 518 x 518, exact measures.
_base_ = './anomalies.py'
from denseclip.recipes import anomaly_steps

test_pipeline = anomaly_steps((518, 518))
test_dataloader = dict(dataset=dict(type='VisADataset', data_root='data/visa', split='test', pipeline=test_pipeline))
val_dataloader = test_dataloader
