_base_ = [
    '../_base_/models/ovseg_swin-b_vit-l14.py',
    '../_base_/datasets/cocostuff-ovseg_640x640.py',
    '../_base_/datasets/context459-ovseg_640x640.py',
    '../_base_/schedules/ovseg_120k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary='context459',
    ensemble_weight=0.6,
    data_preprocessor=dict(size=_base_.crop_size),
)
