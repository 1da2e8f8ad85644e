# ImageNet baseline of the paper, ResNet-101.
_base_ = ['../_base_/models/fpn_r50.py', '../_base_/runs/80k_ade20k-512x512.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
