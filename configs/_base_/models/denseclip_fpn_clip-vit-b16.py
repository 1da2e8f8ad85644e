# DenseCLIP (Semantic FPN) on CLIP's ViT-B/16: the score map joins the stride-16 level, the patches' own grid.
_base_ = './fpn_clip-vit-b16.py'
from denseclip.recipes import text_guidance

model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=dict(with_pixel_text=True),
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=2,
    neck=dict(in_channels=[768, 768, 768 + 150, 768]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
