# CLIP baseline of the paper, Mask R-CNN with ResNet-101: CLIP weights, no text.
_base_ = ['../_base_/models/mask-rcnn_clip-r50_fpn.py', '../_base_/runs/1x_coco-masks.py']
model = dict(backbone=dict(model='RN101'))
