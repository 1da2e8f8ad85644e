# Mask R-CNN-DenseCLIP on CLIP's ResNet-50: post-model prompting, scores / tau on the stride-32 level, boxes supervise
# the score map. The attention pool's positions are a 42 x 42 grid (1344 / 32), interpolated to every picture; the
# authors take its top-left part instead (pos_resize='crop'), and their released weights need that.
_base_ = './mask-rcnn_clip-r50_fpn.py'
from denseclip.recipes import text_guidance

model = dict(
    type='DenseCLIPMaskRCNN',
    vocabulary='coco',
    backbone=dict(with_pixel_text=True, input_resolution=1344),
    **text_guidance('RN50', width=1024),
    score_concat_index=3,
    neck=dict(in_channels=[256, 512, 1024, 2048 + 80]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
