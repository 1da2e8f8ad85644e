# DenseCLIP on an ImageNet Swin-S (any backbone).
_base_ = ['../_base_/models/denseclip_fpn_swin-t.py', '../_base_/runs/80k_ade20k-512x512.py']
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
