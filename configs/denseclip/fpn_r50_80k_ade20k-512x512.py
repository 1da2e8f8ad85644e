# ImageNet baseline of the paper, ResNet-50.
_base_ = ['../_base_/models/fpn_r50.py', '../_base_/runs/80k_ade20k-512x512.py']
