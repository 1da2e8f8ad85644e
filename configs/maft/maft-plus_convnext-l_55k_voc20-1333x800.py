_base_ = [
    '../_base_/models/maft-plus_convnext-l.py',
    '../_base_/datasets/cocostuff_1333x800.py',
    '../_base_/datasets/voc20_1333x800.py',
    '../_base_/schedules/maft-plus_55k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='voc20')
