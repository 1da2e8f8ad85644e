# Mixed training; it starts from the warm-up.
_base_ = [
    '../_base_/models/fcclip-mask-adapter_convnext-l.py',
    '../_base_/datasets/coco-panoptic-lsj_1024x1024.py',
    '../_base_/datasets/ade20k_896x896.py',
    '../_base_/schedules/mask-adapter_49k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='ade20k_fcclip')
train_dataloader = dict(batch_size=3)
load_from = 'work_dirs/fcclip-mask-adapter-warmup_convnext-l_296k_ade20k-896x896/iter_295717.pth'
