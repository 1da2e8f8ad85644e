# DenseCLIP of the paper, ViT-B/16.
_base_ = [
    '../_base_/models/denseclip_fpn_clip-vit-b16.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
