_base_ = [
    '../_base_/models/maskclip-plus_deeplabv2-r101.py',
    '../_base_/datasets/context59_480x480.py',
    '../_base_/schedules/sgd_4k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='context59', data_preprocessor=dict(size=_base_.crop_size))
