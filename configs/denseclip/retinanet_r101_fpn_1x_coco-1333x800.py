# ImageNet baseline of the paper, RetinaNet with ResNet-101, under the same recipe.
_base_ = ['../_base_/models/retinanet_r50_fpn.py', '../_base_/runs/1x_coco-boxes.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
