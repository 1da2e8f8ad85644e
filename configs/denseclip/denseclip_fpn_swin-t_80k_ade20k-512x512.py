# DenseCLIP on an ImageNet Swin-T (any backbone).
_base_ = ['../_base_/models/denseclip_fpn_swin-t.py', '../_base_/runs/80k_ade20k-512x512.py']
