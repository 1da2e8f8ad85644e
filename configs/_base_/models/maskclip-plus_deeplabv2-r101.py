# MaskCLIP+: DeepLabv2 with ResNet-101, taught by a frozen MaskCLIP (OpenAI's ViT-B/16).
_base_ = './inputs_imagenet.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='MaskCLIPPlus',
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(
        type='MaskCLIPPlusHead',
        in_channels=2048,
        in_index=3,
        embed_dim=512,
        dilations=(6, 12, 18, 24),
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    teacher=dict(
        type='OpenVocabularySegmentor',
        clip=dict(model='ViT-B-16', pretrained='openai', preset='maskclip_orig'),
    ),
    test_cfg=dict(mode='whole'),
)
