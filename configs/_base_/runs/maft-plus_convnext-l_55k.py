# MAFT+, ConvNeXt-L: all but the test set and its words.
_base_ = [
    '../models/maft-plus_convnext-l.py',
    '../datasets/cocostuff_1333x800.py',
    '../schedules/maft-plus_55k.py',
    '../default_runtime.py',
]
