_base_ = ['../_base_/runs/maft-plus_convnext-l_55k.py', '../_base_/datasets/context59_1333x800.py']
model = dict(vocabulary='context59_fcclip')
