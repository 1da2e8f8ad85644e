# DenseCLIP (Semantic FPN) on an ImageNet Swin-T: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './fpn_swin-t.py'
model = dict(
    type='DenseCLIP',
    vocabulary='ade20k',
    backbone=dict(
        _delete_=True,
        type='AttentionPoolBackbone',
        trunk=_base_.model.backbone,
        in_channels=768,
        embed_dim=512,
        num_heads=32,
        spatial_size=16,  # 512 / 32
    ),
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
    score_concat_index=3,
    neck=dict(in_channels=[96, 192, 384, 768 + 150]),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
