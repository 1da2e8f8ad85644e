# CLIP baseline of the paper, ResNet-101. (The authors' config loads RN50 weights by mistake; this one does not.)
_base_ = [
    '../_base_/models/fpn_clip-r50.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(model='RN101'))
