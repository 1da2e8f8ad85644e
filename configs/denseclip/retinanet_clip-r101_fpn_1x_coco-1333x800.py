# CLIP baseline of the paper, RetinaNet with ResNet-101: CLIP weights, no text.
_base_ = ['../_base_/models/retinanet_clip-r50_fpn.py', '../_base_/runs/1x_coco-boxes.py']
model = dict(backbone=dict(model='RN101'))
