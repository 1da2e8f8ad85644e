# RetinaNet-DenseCLIP on an ImageNet ResNet-50: a new attention pool maps the last stage into CLIP's text space
# (DenseCLIP, section 4.3: any backbone). Text encoder of CLIP ViT-B/16, 512 dimensions.
_base_ = './retinanet_r50_fpn.py'
model = dict(
    type='DenseCLIPRetinaNet',
    vocabulary='coco',
    backbone=dict(
        _delete_=True,
        type='AttentionPoolBackbone',
        trunk=_base_.model.backbone,
        in_channels=2048,
        embed_dim=512,
        num_heads=32,
        spatial_size=42,  # 1344 / 32
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
    neck=dict(in_channels=[256, 512, 1024, 2048 + 80]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
