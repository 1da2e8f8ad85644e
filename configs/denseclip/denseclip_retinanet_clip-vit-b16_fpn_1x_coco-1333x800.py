# RetinaNet-DenseCLIP on ViT-B/16 (not in the paper).
_base_ = [
    '../_base_/models/denseclip_retinanet_clip-vit-b16_fpn.py',
    '../_base_/datasets/coco_detection_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
