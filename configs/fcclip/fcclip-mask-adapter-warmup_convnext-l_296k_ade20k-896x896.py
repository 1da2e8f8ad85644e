# Warm-up: classes of true masks.
_base_ = [
    '../_base_/models/fcclip-mask-adapter_convnext-l.py',
    '../_base_/datasets/coco-panoptic-lsj_768x768.py',
    '../_base_/datasets/ade20k_896x896.py',
    '../_base_/schedules/mask-adapter-warmup_296k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='ade20k_fcclip', adapter_training=dict(phase='ground_truth', train_void=False))
load_from = 'work_dirs/hosts/fcclip_cocopan.pth'  # weights of FC-CLIP: the adapter is fresh
