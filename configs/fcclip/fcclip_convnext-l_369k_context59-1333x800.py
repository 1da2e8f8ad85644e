_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/context59_1333x800.py']
model = dict(vocabulary='context59_fcclip')
