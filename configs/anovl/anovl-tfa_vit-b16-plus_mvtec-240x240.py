_base_ = ['../_base_/datasets/mvtec_240x240.py', '../_base_/default_runtime_anomaly.py']
model = dict(
    type='AnoVL',
    clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e32'),
    views=True,
    map_size='input',
)
