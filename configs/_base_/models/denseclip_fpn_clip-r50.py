# DenseCLIP (Semantic FPN) on CLIP's ResNet-50: post-model prompting, score map on the stride-32 level.
_base_ = './fpn_clip-r50.py'
model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=dict(with_pixel_text=True, input_resolution=512),
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
    neck=dict(in_channels=[256, 512, 1024, 2048 + 150]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
