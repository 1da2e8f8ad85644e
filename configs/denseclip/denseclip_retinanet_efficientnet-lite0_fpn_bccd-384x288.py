# RetinaNet-DenseCLIP on BCCD: real detection on a machine without a GPU or a hub.
_base_ = [
    '../_base_/models/denseclip_retinanet_efficientnet-lite0_fpn.py',
    '../_base_/datasets/bccd_384x288.py',
    '../_base_/schedules/adamw_12e.py',
    '../_base_/default_runtime_det.py',
]
