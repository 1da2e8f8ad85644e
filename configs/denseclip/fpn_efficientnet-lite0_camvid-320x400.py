# Plain baseline of denseclip_fpn_efficientnet-lite0_camvid-320x400.py: same trunk, neck and head width, no text.
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/datasets/camvid_320x400.py',
    '../_base_/schedules/adamw_920.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
