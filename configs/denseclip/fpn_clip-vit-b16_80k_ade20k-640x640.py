# CLIP baseline of the paper, ViT-B/16: CLIP weights, no text.
_base_ = [
    '../_base_/models/fpn_clip-vit-b16.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
