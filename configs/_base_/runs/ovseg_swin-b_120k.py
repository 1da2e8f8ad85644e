# OVSeg, large: all but the test set and its words.
_base_ = [
    '../models/ovseg_swin-b_vit-l14.py',
    '../datasets/cocostuff-ovseg_640x640.py',
    '../schedules/ovseg_120k.py',
    '../default_runtime.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
