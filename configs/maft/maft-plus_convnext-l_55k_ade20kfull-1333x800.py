_base_ = ['../_base_/runs/maft-plus_convnext-l_55k.py', '../_base_/datasets/ade20kfull_1333x800.py']
model = dict(vocabulary='ade20k_full_fcclip')
