# ImageNet baseline of the any-backbone table, ResNet-18.
_base_ = ['../_base_/models/fpn_r50.py', '../_base_/runs/80k_ade20k-512x512.py']
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='open-mmlab://resnet18_v1c')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
