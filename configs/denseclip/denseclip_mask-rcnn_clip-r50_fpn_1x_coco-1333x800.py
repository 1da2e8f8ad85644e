# Mask R-CNN-DenseCLIP of the paper, ResNet-50.
_base_ = ['../_base_/models/denseclip_mask-rcnn_clip-r50_fpn.py', '../_base_/runs/1x_coco-masks.py']
