_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/cityscapes-panoptic-test_2048x1024.py']
model = dict(vocabulary='cityscapes_fcclip', things='cityscapes', test_cfg=dict(task='panoptic'))
