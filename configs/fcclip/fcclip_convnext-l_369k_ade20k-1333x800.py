_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/ade20k_1333x800.py']
model = dict(vocabulary='ade20k_fcclip')
