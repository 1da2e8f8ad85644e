# DenseCLIP on an ImageNet ResNet-18 (any backbone).
_base_ = ['../_base_/models/denseclip_fpn_r50.py', '../_base_/runs/80k_ade20k-512x512.py']
model = dict(
    backbone=dict(trunk=dict(depth=18, init_cfg=dict(checkpoint='open-mmlab://resnet18_v1c')), in_channels=512),
    neck=dict(in_channels=[64, 128, 256, 512 + 150]),
)
