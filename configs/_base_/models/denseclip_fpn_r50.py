# DenseCLIP (Semantic FPN) on an ImageNet ResNet-50: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './fpn_r50.py'
from denseclip.recipes import attention_pool, text_guidance

model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=attention_pool(_base_.model.backbone, in_channels=2048, spatial_size=16),  # 512 / 32
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=3,
    neck=dict(in_channels=[256, 512, 1024, 2048 + 150]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
