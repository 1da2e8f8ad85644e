# CLIP baseline of the paper, ResNet-101. (The authors' config loads RN50 weights by mistake; this one does not.)
_base_ = ['../_base_/models/fpn_clip-r50.py', '../_base_/runs/80k_ade20k-512x512.py']
model = dict(backbone=dict(model='RN101'))
