_base_ = ['../_base_/datasets/visa-squashed_240x240.py', '../_base_/default_runtime_anomaly.py']
model = dict(type='WinCLIP', clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e31'), map_size='input')
