# RetinaNet-DenseCLIP on an ImageNet ResNet-50 (any backbone).
_base_ = [
    '../_base_/models/denseclip_retinanet_r50_fpn.py',
    '../_base_/datasets/coco_detection_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
