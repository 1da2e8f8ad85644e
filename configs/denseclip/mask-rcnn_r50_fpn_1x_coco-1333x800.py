# ImageNet baseline of the paper, Mask R-CNN with ResNet-50, under the same recipe.
_base_ = ['../_base_/models/mask-rcnn_r50_fpn.py', '../_base_/runs/1x_coco-masks.py']
