_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/voc20_1333x800.py']
model = dict(vocabulary='voc20_fcclip')
