# ImageNet baseline of the any-backbone table, Swin-T.
_base_ = ['../_base_/models/fpn_swin-t.py', '../_base_/runs/80k_ade20k-512x512.py']
