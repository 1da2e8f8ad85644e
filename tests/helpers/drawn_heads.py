"""Heads of pixels around means that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.pixel_head import PixelGDAHead

WORDS = Vocabulary.parse('sky; car = automobile; road')


def gaussians(names: Sequence[str], dim: int, alpha: float = 1.0, seed: int = 0) -> PixelGDAHead:
    """A head whose classes are alike but for their means."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.nn.functional.normalize(torch.randn(len(names), dim, generator=generator), dim=1)
    quantiles = torch.linspace(0, 36, 101)
    return PixelGDAHead(
        tuple(names), means, torch.eye(dim) * 9, torch.full((len(names),), 1 / len(names)), alpha, quantiles, {}, WORDS
    )
