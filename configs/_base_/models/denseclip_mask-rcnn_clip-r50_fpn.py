# Mask R-CNN-DenseCLIP on CLIP's ResNet-50: post-model prompting, scores / tau on the stride-32 level, boxes supervise
# the score map. The attention pool's positions are a 42 x 42 grid (1344 / 32), interpolated to every picture; the
# authors take its top-left part instead (pos_resize='crop'), and their released weights need that.
_base_ = './mask-rcnn_clip-r50_fpn.py'
model = dict(
    type='DenseCLIPMaskRCNN',
    vocabulary='coco',
    backbone=dict(with_pixel_text=True, input_resolution=1344),
    text_encoder=dict(type='CLIPTextContextEncoder', model='RN50', pretrained='openai', frozen=True),
    prompting='post',
    num_contexts=8,
    context_length=5,
    context_decoder=dict(
        type='ContextDecoder',
        visual_dim=1024,
        transformer_width=256,
        transformer_heads=4,
        transformer_layers=3,
        dropout=0.1,
    ),
    tau=0.07,
    score_fusion='concat',
    score_concat_index=3,
    neck=dict(in_channels=[256, 512, 1024, 2048 + 80]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
