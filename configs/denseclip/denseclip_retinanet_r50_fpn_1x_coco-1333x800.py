# RetinaNet-DenseCLIP on an ImageNet ResNet-50 (any backbone).
_base_ = ['../_base_/models/denseclip_retinanet_r50_fpn.py', '../_base_/runs/1x_coco-boxes.py']
