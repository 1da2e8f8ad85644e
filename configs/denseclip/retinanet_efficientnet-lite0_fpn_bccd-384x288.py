# Plain RetinaNet on BCCD: same trunk, schedule and pictures as RetinaNet-DenseCLIP.
_base_ = [
    '../_base_/models/retinanet_efficientnet-lite0_fpn.py',
    '../_base_/datasets/bccd_384x288.py',
    '../_base_/schedules/adamw_12e.py',
    '../_base_/default_runtime_det.py',
]
