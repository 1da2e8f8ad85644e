# CLIP baseline of the paper, ResNet-50: CLIP weights, no text.
_base_ = [
    '../_base_/models/fpn_clip-r50.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
