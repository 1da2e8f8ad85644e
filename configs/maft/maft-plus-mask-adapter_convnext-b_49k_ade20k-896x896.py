# Mixed training; it starts from the warm-up.
_base_ = [
    '../_base_/models/maft-plus-mask-adapter_convnext-b.py',
    '../_base_/datasets/cocostuff_1333x800.py',
    '../_base_/datasets/ade20k_896x896.py',
    '../_base_/schedules/mask-adapter-maft_49k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='ade20k_fcclip')
train_dataloader = dict(batch_size=3)
load_from = 'work_dirs/maft-plus-mask-adapter-warmup_convnext-b_296k_ade20k-896x896/iter_295717.pth'
