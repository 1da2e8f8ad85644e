# Mask R-CNN on miniworld's things: boxes and masks on a machine without a GPU or a hub.
_base_ = [
    '../_base_/models/mask-rcnn_efficientnet-lite0_fpn.py',
    '../_base_/datasets/miniworld-instances_128x128.py',
    '../_base_/schedules/adamw_12e.py',
    '../_base_/default_runtime_det.py',
]
