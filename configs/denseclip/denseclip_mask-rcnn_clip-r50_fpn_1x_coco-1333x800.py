# Mask R-CNN-DenseCLIP of the paper, ResNet-50.
_base_ = [
    '../_base_/models/denseclip_mask-rcnn_clip-r50_fpn.py',
    '../_base_/datasets/coco_instance_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
