# Mask R-CNN on an ImageNet Swin-T, no text.
_base_ = ['../_base_/models/mask-rcnn_swin-t_fpn.py', '../_base_/runs/1x_coco-masks.py']
