# MVTec AD as the authors measure: pictures and masks squashed to 240 x 240, their AUPRO and image AP.
_base_ = './anomalies.py'
from denseclip.recipes import anomaly_steps

test_pipeline = anomaly_steps((240, 240))
test_dataloader = dict(
    dataset=dict(type='MVTecADDataset', data_root='data/mvtec_ad', split='test', pipeline=test_pipeline)
)
val_dataloader = test_dataloader
test_evaluator = dict(aupro='anovl', image_ap='trapezoid')
val_evaluator = test_evaluator
