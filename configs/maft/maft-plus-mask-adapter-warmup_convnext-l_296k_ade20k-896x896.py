# Warm-up: classes of true masks.
_base_ = [
    '../_base_/models/maft-plus-mask-adapter_convnext-l.py',
    '../_base_/datasets/cocostuff_1024x1024.py',
    '../_base_/datasets/ade20k_896x896.py',
    '../_base_/schedules/mask-adapter-warmup_296k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='ade20k_fcclip', adapter_training=dict(phase='ground_truth'))
load_from = 'work_dirs/hosts/maftp_l.pth'  # weights of MAFT+: the adapter is fresh
