# DenseCLIP on an ImageNet Swin-S (any backbone).
_base_ = [
    '../_base_/models/denseclip_fpn_swin-t.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        trunk=dict(
            depths=[2, 2, 18, 2],
            init_cfg=dict(
                checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
                'swin_small_patch4_window7_224_20220317-7ba6d6dd.pth'
            ),
        ),
    ),
)
