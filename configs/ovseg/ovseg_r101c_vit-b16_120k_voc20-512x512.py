_base_ = [
    '../_base_/models/ovseg_r101c_vit-b16.py',
    '../_base_/datasets/cocostuff-ovseg_512x512.py',
    '../_base_/datasets/voc20-ovseg_512x512.py',
    '../_base_/schedules/ovseg-resnet_120k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary='voc20_ovseg',
    ensemble_weight=0.45,
    data_preprocessor=dict(size=_base_.crop_size),
)
