# DenseCLIP on an ImageNet ResNet-50 (any backbone).
_base_ = [
    '../_base_/models/denseclip_fpn_r50.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
