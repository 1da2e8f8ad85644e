_base_ = ['../_base_/runs/maft-plus_convnext-b_60k.py', '../_base_/datasets/voc20_1333x800.py']
model = dict(vocabulary='voc20_fcclip')
