_base_ = [
    '../_base_/models/fcclip_convnext-l.py',
    '../_base_/datasets/coco-panoptic-lsj_1024x1024.py',
    '../_base_/datasets/cityscapes-panoptic-test_2048x1024.py',
    '../_base_/schedules/fcclip_369k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='cityscapes', things='cityscapes', test_cfg=dict(task='panoptic'))
