_base_ = [
    '../_base_/models/maft-plus_convnext-l.py',
    '../_base_/datasets/coco-panoptic-lsj_1024x1024.py',
    '../_base_/datasets/ade20k-panoptic-test_1333x800.py',
    '../_base_/schedules/maft-plus_55k.py',
    '../_base_/default_runtime.py',
]
# The panoptic model: another transfer. The authors publish its weights, but no recipe; the training here is the
# semantic one on FC-CLIP's data.
model = dict(
    transfer=dict(variant='panoptic'),
    train_vocabulary='coco_panoptic_fcclip',
    vocabulary='ade20k_fcclip',
    things='ade20k',
    test_cfg=dict(task='panoptic'),
)
train_dataloader = dict(batch_size=1)
