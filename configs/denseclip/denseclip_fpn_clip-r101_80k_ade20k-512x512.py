# DenseCLIP of the paper, ResNet-101 (text space of 512 dimensions).
_base_ = ['../_base_/models/denseclip_fpn_clip-r50.py', '../_base_/runs/80k_ade20k-512x512.py']
model = dict(backbone=dict(model='RN101'), text_encoder=dict(model='RN101'), context_decoder=dict(visual_dim=512))
