# What every segmentation training that counts iterations shares.
_base_ = ['./hooks.py', './evaluation.py']
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
