# MAFT+, ConvNeXt-B: all but the test set and its words.
_base_ = [
    '../models/maft-plus_convnext-b.py',
    '../datasets/cocostuff_1333x800.py',
    '../schedules/maft-plus_60k.py',
    '../default_runtime.py',
]
