# ImageNet baseline of the paper, Mask R-CNN with ResNet-101, under the same recipe.
_base_ = ['../_base_/models/mask-rcnn_r50_fpn.py', '../_base_/runs/1x_coco-masks.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
