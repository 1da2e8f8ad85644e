_base_ = ['../_base_/datasets/folder_240x240.py', '../_base_/default_runtime_anomaly.py']
model = dict(
    type='AnoVL',
    clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e32'),
    keep_ratio=True,
    tiles=True,
    views=False,
    adaptation=dict(kind='linear', steps=5, seed=42),
)
