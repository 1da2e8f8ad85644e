# RetinaNet-DenseCLIP on an ImageNet ResNet-50: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './retinanet_r50_fpn.py'
from denseclip.recipes import attention_pool, text_guidance

model = dict(
    type='DenseCLIPRetinaNet',
    vocabulary='coco',
    backbone=attention_pool(_base_.model.backbone, in_channels=2048, spatial_size=42),  # 1344 / 32
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=3,
    neck=dict(in_channels=[256, 512, 1024, 2048 + 80]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
