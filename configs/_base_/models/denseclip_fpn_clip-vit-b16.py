# DenseCLIP (Semantic FPN) on CLIP's ViT-B/16: the score map joins the stride-16 level, the patches' own grid.
_base_ = './fpn_clip-vit-b16.py'
model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=dict(with_pixel_text=True),
    text_encoder=dict(type='CLIPTextContextEncoder', model='ViT-B-16', pretrained='openai', frozen=True),
    prompting='post',
    num_contexts=8,
    context_length=5,
    context_decoder=dict(
        type='ContextDecoder',
        visual_dim=512,
        transformer_width=256,
        transformer_heads=4,
        transformer_layers=3,
        dropout=0.1,
    ),
    tau=0.07,
    score_fusion='concat',
    score_concat_index=2,
    neck=dict(in_channels=[768, 768, 768 + 150, 768]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
