# DenseCLIP on an ImageNet ResNet-50 (any backbone).
_base_ = ['../_base_/models/denseclip_fpn_r50.py', '../_base_/runs/80k_ade20k-512x512.py']
