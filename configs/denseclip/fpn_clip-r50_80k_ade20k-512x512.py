# CLIP baseline of the paper, ResNet-50: CLIP weights, no text.
_base_ = ['../_base_/models/fpn_clip-r50.py', '../_base_/runs/80k_ade20k-512x512.py']
