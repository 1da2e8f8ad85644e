"""A small open-vocabulary segmentor of any preset, quick enough to run in a test."""

from __future__ import annotations

from typing import Any

import torch

from denseclip.clip.presets import PRESETS, preset
from denseclip.models.builder import build_module
from denseclip.models.providers.base import RegionProvider

DEEPEST = 11
"""Layers that every preset can do with."""
ARCH: dict[str, Any] = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=64, patch_size=16, layers=DEEPEST, width=32, head_width=8),
    text_cfg=dict(width=16, heads=2, layers=1),
)
RESNET_ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=64, patch_size=None, layers=[1, 1, 1, 1], width=8, head_width=64),
    text_cfg=dict(width=16, heads=2, layers=1),
)
CLASSES = ['background', 'sky', ('car', ['automobile', 'vehicle']), 'road', 'tree']
TINY_DINO = dict(model_name='vit_tiny_patch16_224', patch_size=8, img_size=32, depth=2, embed_dim=24, num_heads=3)


class Quarters(RegionProvider):
    """Four regions, the last of which is none."""

    def forward(self, image, spec, size, meta):
        down, across = (torch.arange(n, device=image.device) * 2 // n for n in size)
        numbers = 2 * down[:, None] + across
        return torch.where(numbers == 3, -1, numbers)


def tiny_sam() -> Any:
    """A small SAM of transformers with random weights."""
    from transformers import SamConfig, SamModel

    side = dict(image_size=64, patch_size=16)
    return SamModel(
        SamConfig(
            vision_config=dict(
                **side,
                hidden_size=8,
                num_hidden_layers=2,
                num_attention_heads=2,
                window_size=3,
                global_attn_indexes=[1],
                output_channels=8,
                num_pos_feats=4,
                mlp_dim=8,
            ),
            prompt_encoder_config=dict(**side, hidden_size=8, mask_input_channels=4),
            mask_decoder_config=dict(hidden_size=8, num_attention_heads=2, mlp_dim=8, iou_head_hidden_dim=8),
        )
    )


READY = sorted(name for name in PRESETS if name != 'dinoiser')
"""Presets that need nothing learned."""


def tiny_open_vocab(
    name: str = 'maskclip', *, model: str = 'ViT-B-16', seed: int = 0, layers: int = DEEPEST, **settings: Any
) -> Any:
    """A model in evaluation mode with random weights.

    Args:
        name: Preset.
        model: Architecture whose configuration is cut down.
        seed: Of the weights.
        layers: Of a ViT.
        settings: Arguments of the segmentor; ``read_out`` replaces settings of the preset's.
    """
    torch.manual_seed(seed)
    vit = {**ARCH, 'vision_cfg': {**ARCH['vision_cfg'], 'layers': layers}}
    arch = RESNET_ARCH if model.startswith('RN') else vit
    clip = dict(model=model, arch=arch, preset=name, read_out=settings.pop('read_out', None))
    if 'affinity' in preset(name).model:
        settings.setdefault('affinity', dict(dino=TINY_DINO))
    if 'sam' in preset(name).model:
        settings.setdefault('sam', dict(sam=tiny_sam()))
    if preset(name).regions:
        settings.setdefault('regions', Quarters())
    settings.setdefault('vocabulary', CLASSES)
    settings.setdefault('templates', 'photo')
    return build_module(dict(type=preset(name).type, clip=clip, **settings)).eval()
