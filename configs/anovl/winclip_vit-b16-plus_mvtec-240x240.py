_base_ = ['../_base_/datasets/mvtec_240x240.py', '../_base_/default_runtime_anomaly.py']
model = dict(type='WinCLIP', clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e31'), map_size='input')
test_evaluator = dict(_delete_=True, type='AnomalyMetric')
val_evaluator = test_evaluator
