# OVSeg, small: all but the test set and its words.
_base_ = [
    '../models/ovseg_r101c_vit-b16.py',
    '../datasets/cocostuff-ovseg_512x512.py',
    '../schedules/ovseg-resnet_120k.py',
    '../default_runtime.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
