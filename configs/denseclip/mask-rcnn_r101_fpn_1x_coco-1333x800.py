# ImageNet baseline of the paper, Mask R-CNN with ResNet-101, under the same recipe.
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance_1333x800.py',
    '../_base_/schedules/adamw_1x_coco.py',
    '../_base_/default_runtime_det.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
