# OVSeg, small: as ovseg_swin-b_vit-l14.py on DeepLab's ResNet-101 (three convolutions as stem, dilations 1, 2, 4 in the
# last stage, all norms frozen) and a ViT-B/16 of CLIP. The backbone starts from detectron2's R-103.pkl, converted.
_base_ = './ovseg_swin-b_vit-l14.py'
model = dict(
    clip=dict(model='ViT-B-16'),
    backbone=dict(
        _delete_=True,
        type='ResNetV1c',
        depth=101,
        stem_channels=128,
        base_channels=64,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        multi_grid=(1, 2, 4),
        contract_dilation=False,
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/deeplab_r103.pth'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    region_classifier=dict(threshold=0.5),
)
