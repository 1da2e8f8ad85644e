# The linear layers must have been trained on the other set; give them by `model.heads`.
_base_ = ['../_base_/datasets/mvtec_518x518.py', '../_base_/default_runtime_anomaly.py']
model = dict(type='AprilGAN', clip=dict(model='ViT-L-14-336', pretrained='openai'), image_size=518, map_size='input')
