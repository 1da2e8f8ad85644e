# DenseCLIP (Semantic FPN) on an ImageNet Swin-T: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './fpn_swin-t.py'
from denseclip.recipes import attention_pool, text_guidance

model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=attention_pool(_base_.model.backbone, in_channels=768, spatial_size=16),  # 512 / 32
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=3,
    neck=dict(in_channels=[96, 192, 384, 768 + 150]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
