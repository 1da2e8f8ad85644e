"""Small DenseCLIP models of every kind, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

from mmengine.registry import init_default_scope

from denseclip.models.builder import build_module

EMBED = 16
WIDTH = 24
CLASSES = ['wall', 'floor', 'traffic light', 'sky', 'bus']

RESNET = dict(type='CLIPResNet', layers=[1, 1, 1, 1], width=8, embed_dim=EMBED, input_resolution=64, heads=4)
VIT = dict(
    type='CLIPVisionTransformer',
    input_resolution=64,
    patch_size=16,
    width=32,
    layers=4,
    heads=4,
    embed_dim=EMBED,
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
    norm_cfg=dict(type='BN'),
)
TEXT = dict(
    type='CLIPTextContextEncoder',
    context_length=13,
    embed_dim=EMBED,
    transformer_width=WIDTH,
    transformer_heads=4,
    transformer_layers=2,
)
DECODER = dict(type='ContextDecoder', visual_dim=EMBED, transformer_width=16, transformer_heads=4, transformer_layers=2)
ANY_BACKBONE = dict(
    type='AttentionPoolBackbone',
    trunk=dict(
        type='TimmTrunk',
        model_name='convnext_atto',
        out_indices=(0, 1, 2, 3),
        depths=(1, 1, 1, 1),
        dims=(8, 16, 24, 32),
    ),
    embed_dim=EMBED,
    num_heads=4,
    spatial_size=2,
)
BACKBONES = {'resnet': RESNET, 'vit': VIT, 'any': ANY_BACKBONE}
STAGE_CHANNELS = {'resnet': [32, 64, 128, 256], 'vit': [32] * 4, 'any': [8, 16, 24, 32]}


def denseclip_config(backbone: str = 'resnet', open_vocabulary: bool = False, **overrides: Any) -> dict[str, Any]:
    """Config of a small DenseCLIP.

    Args:
        backbone: ``'resnet'``, ``'vit'`` or ``'any'``.
        open_vocabulary: Expected text embeddings in the neck and text as classifier, instead of the paper's closed set.
        overrides: Other arguments of the model.
    """
    prompting = overrides.get('prompting', 'post')
    level = 2 if backbone == 'vit' else 3
    channels = list(STAGE_CHANNELS[backbone])
    channels[level] += EMBED if open_vocabulary else len(overrides.get('vocabulary', CLASSES))
    decoder = {'none': None, 'pre': dict(**DECODER, query_dim=WIDTH, out_dim=WIDTH), 'post': DECODER}[prompting]
    head = dict(
        type='PixelTextFPNHead' if open_vocabulary else 'FPNHead',
        in_channels=[12] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=8,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        **(dict(embed_dim=EMBED) if open_vocabulary else dict(num_classes=len(overrides.get('vocabulary', CLASSES)))),
    )
    return {
        **dict(
            type='DenseCLIP',
            backbone=BACKBONES[backbone],
            text_encoder=TEXT,
            vocabulary=CLASSES,
            context_decoder=decoder,
            prompting=prompting,
            score_concat_index=level,
            score_fusion='expectation' if open_vocabulary else 'concat',
            text_head=open_vocabulary,
            neck=dict(type='FPN', in_channels=channels, out_channels=12, num_outs=4),
            decode_head=head,
            identity_head=dict(type='IdentityHead', loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),
            test_cfg=dict(mode='whole'),
        ),
        **overrides,
    }


def tiny_denseclip(backbone: str = 'resnet', open_vocabulary: bool = False, **overrides: Any) -> Any:
    """A small DenseCLIP; arguments as of :func:`denseclip_config`."""
    init_default_scope('mmseg')
    return build_module(denseclip_config(backbone, open_vocabulary, **overrides))


def tiny_baseline(backbone: str = 'resnet') -> Any:
    """Semantic FPN on the same backbone without text, from MMSeg's own segmentor."""
    init_default_scope('mmseg')
    config = denseclip_config(backbone)
    trunk = config['backbone']['trunk'] if backbone == 'any' else {**config['backbone'], 'with_pixel_text': False}
    neck = {**config['neck'], 'in_channels': STAGE_CHANNELS[backbone]}
    parts = dict(decode_head=config['decode_head'], test_cfg=dict(mode='whole'), train_cfg=dict())
    return build_module(dict(type='EncoderDecoder', backbone=trunk, neck=neck, **parts))
