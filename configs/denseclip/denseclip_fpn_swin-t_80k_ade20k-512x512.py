# DenseCLIP on an ImageNet Swin-T (any backbone).
_base_ = [
    '../_base_/models/denseclip_fpn_swin-t.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
