# Mask R-CNN-DenseCLIP on an ImageNet Swin-T (any backbone).
_base_ = ['../_base_/models/denseclip_mask-rcnn_swin-t_fpn.py', '../_base_/runs/1x_coco-masks.py']
