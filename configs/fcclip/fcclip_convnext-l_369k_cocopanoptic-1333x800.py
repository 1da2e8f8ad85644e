_base_ = ['../_base_/runs/fcclip_369k.py', '../_base_/datasets/coco-panoptic-test_1333x800.py']
model = dict(vocabulary='coco_panoptic_fcclip', things='coco', test_cfg=dict(task='panoptic'))
