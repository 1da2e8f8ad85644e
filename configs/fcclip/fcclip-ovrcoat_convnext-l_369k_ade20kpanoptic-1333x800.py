_base_ = [
    '../_base_/models/fcclip-ovrcoat_convnext-l.py',
    '../_base_/datasets/coco-panoptic-lsj_1024x1024.py',
    '../_base_/datasets/ade20k-panoptic-test_1333x800.py',
    '../_base_/schedules/ovrcoat_369k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='ade20k_fcclip', things='ade20k', test_cfg=dict(task='panoptic'))
train_dataloader = dict(batch_size=1)
