# ImageNet baseline of the paper, RetinaNet with ResNet-50, under the same recipe.
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_detection_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
