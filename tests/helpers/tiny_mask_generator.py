"""A small mask generator, feature maps for it, text rows and segments."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from denseclip.models.heads import OpenVocabMask2FormerHead

CHANNELS = (8, 12, 16, 20)
EMBED_DIM = 16


def tiny_generator(seed: int = 0, **options: Any) -> OpenVocabMask2FormerHead:
    """A head of width 32 with two layers in each decoder."""
    torch.manual_seed(seed)
    if 'num_classes' not in options:
        options.setdefault('embed_dim', EMBED_DIM)
    return OpenVocabMask2FormerHead(
        CHANNELS,
        dim=32,
        num_layers=2,
        num_heads=4,
        ffn_dim=32,
        pixel_decoder=dict(num_layers=1, ffn_dim=32),
        criterion=dict(num_points=64),
        **{'num_queries': 6, **options},
    )


def pyramid(batch: int = 2, size: tuple[int, int] = (64, 96)) -> list[Tensor]:
    """Feature maps at strides 4, 8, 16, 32 of pictures of a size, on the surrounding device."""
    return [torch.randn(batch, c, size[0] // s, size[1] // s) for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)]


def text(*synonyms: int) -> tuple[Tensor, Tensor]:
    """Unit-length rows, void last, and the number of names of each class."""
    return F.normalize(torch.randn(sum(synonyms) + 1, EMBED_DIM), dim=-1), torch.tensor(synonyms)


def halves(*labels: int, size: tuple[int, int] = (64, 96)) -> InstanceData:
    """Vertical stripes of equal width, one per label; none without labels."""
    stripe = torch.arange(size[1]) * max(len(labels), 1) // size[1]
    masks = stripe.expand(size) == torch.arange(len(labels))[:, None, None]
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), masks=masks)
