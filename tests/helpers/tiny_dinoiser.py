"""Small CLIP-DINOiser and MaskCLIP+ models, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

from mmengine.registry import init_default_scope

from denseclip.models.builder import build_module

CLIP = dict(
    model='ViT-B-16',
    arch=dict(
        embed_dim=16,
        vision_cfg=dict(image_size=32, layers=4, width=32, head_width=16, patch_size=8),
        text_cfg=dict(width=16, heads=2, layers=1),
    ),
)
CLASSES = ['background', 'cat', 'traffic light', 'sky']
TOWER = dict(type='DINOTower', model_name='vit_tiny_patch16_224', patch_size=8, img_size=32, embed_dim=24, depth=2)
TEACHERS = dict(
    correlation_teacher=dict(type='DINOTeacher', tower=dict(**TOWER, num_heads=2)),
    foreground_teacher=dict(type='FOUNDTeacher', tower=dict(**TOWER, num_heads=3)),
)


def tiny_dinoiser(teachers: bool = True, **overrides: Any) -> Any:
    """A small CLIP-DINOiser with one sentence per class; other arguments of the model as ``overrides``."""
    init_default_scope('mmseg')
    config = dict(type='CLIPDINOiser', clip=CLIP, head=dict(embed_dim=12), vocabulary=CLASSES, templates='photo')
    return build_module({**config, **(TEACHERS if teachers else {}), **overrides})


def tiny_maskclip_plus(**overrides: Any) -> Any:
    """A small MaskCLIP+ whose student is half a ResNet-18."""
    init_default_scope('mmseg')
    config = dict(
        type='MaskCLIPPlus',
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=8,
            base_channels=8,
            num_stages=2,
            out_indices=(0, 1),
            dilations=(1, 1),
            strides=(1, 2),
            norm_cfg=dict(type='BN'),
        ),
        decode_head=dict(
            type='MaskCLIPPlusHead',
            in_channels=16,
            in_index=1,
            embed_dim=16,
            dilations=(1, 2),
            norm_cfg=dict(type='BN'),
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
        teacher=dict(type='OpenVocabularySegmentor', clip=dict(**CLIP, preset='maskclip_orig'), templates='photo'),
        vocabulary=CLASSES,
    )
    return build_module({**config, **overrides})
