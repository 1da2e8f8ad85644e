# Mask R-CNN-DenseCLIP on an ImageNet Swin-T: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './mask-rcnn_swin-t_fpn.py'
from denseclip.recipes import attention_pool, text_guidance

model = dict(
    type='DenseCLIPMaskRCNN',
    vocabulary='coco',
    backbone=attention_pool(_base_.model.backbone, in_channels=768, spatial_size=42),  # 1344 / 32
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=3,
    neck=dict(in_channels=[96, 192, 384, 768 + 80]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
