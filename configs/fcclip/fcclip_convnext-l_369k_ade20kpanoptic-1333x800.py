_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/ade20k-panoptic-test_1333x800.py']
model = dict(vocabulary='ade20k_fcclip', things='ade20k', test_cfg=dict(task='panoptic'))
