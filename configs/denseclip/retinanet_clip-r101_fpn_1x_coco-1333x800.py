# CLIP baseline of the paper, RetinaNet with ResNet-101: CLIP weights, no text.
_base_ = [
    '../_base_/models/retinanet_clip-r50_fpn.py',
    '../_base_/datasets/coco_detection_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(model='RN101'))
