"""Small mask decoders with a prompt guide, and random text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.models.heads.mask2former.classifiers import TextClassifier
from denseclip.models.heads.mask2former.decoder import MaskedQueryDecoder
from denseclip.models.heads.mask_head import PixelFeatures
from denseclip.models.heads.pmp import PromptGuide, PromptTokens

DIM, TEXT_DIM, LAYERS, HEADS, QUERIES = 32, 24, 4, 4, 7
SIZE = (6, 8)
OUTPUTS = ('mask_logits', 'class_logits', 'class_embeddings')


def random_prompts(*counts: int, seed: int = 0, length: int | None = None) -> PromptTokens:
    """Different random prompts for each image, ``counts[i]`` of them for image i."""
    generator = torch.Generator().manual_seed(seed)
    length = max(counts) if length is None else length
    tokens = torch.randn(len(counts), length, TEXT_DIM, generator=generator)
    return PromptTokens(tokens, torch.arange(length) >= torch.tensor(counts)[:, None])


def awake(guide: PromptGuide, scale: float = 0.5) -> PromptGuide:
    """A guide that has learned something: its gates are no longer zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in [*guide.layers.values(), *guide.text_layers.values()]:
            if layer.gamma is not None:
                layer.gamma.copy_(scale * torch.randn(layer.gamma.shape, generator=generator))
    return guide


@dataclass
class Guided:
    """A masked decoder, what it reads of a picture, and its guide."""

    decoder: nn.Module
    guide: PromptGuide
    pixels: PixelFeatures
    rows: Tensor

    def run(self, prompts: PromptTokens | None, rows: Tensor | None = None) -> list[Any]:
        """All predictions: one before the layers, one after each."""
        rows = self.rows if rows is None else rows
        synonyms = torch.ones(len(rows) - 1, dtype=torch.long)
        return list(self.decoder(self.pixels, rows, synonyms, guide=self.guide.bind(prompts)).layers)

    def masks(self, prompts: PromptTokens | None) -> Tensor:
        """Mask logits of all predictions (LAYERS + 1, N, Q, h, w)."""
        return torch.stack([layer.mask_logits for layer in self.run(prompts)])


def guided_decoder(batch: int = 2, seed: int = 0, asleep: bool = False, **guide: Any) -> Guided:
    """A decoder on random features.

    Args:
        batch: Images.
        seed: Of all weights and features.
        asleep: Leave the gates zero.
        guide: Settings of the guide.
    """
    torch.manual_seed(seed)
    decoder = MaskedQueryDecoder(
        TextClassifier(DIM, TEXT_DIM),
        DIM,
        DIM,
        DIM,
        num_queries=QUERIES,
        num_layers=LAYERS,
        num_heads=HEADS,
        ffn_dim=48,
    )
    module = PromptGuide(TEXT_DIM, DIM, LAYERS, HEADS, **guide)
    features = torch.randn(batch, DIM, *SIZE)
    memories = tuple(torch.randn(batch, DIM, *size) for size in ((1, 2), (2, 3), (4, 5)))
    rows = nn.functional.normalize(torch.randn(6, TEXT_DIM), dim=-1)
    return Guided(decoder, module if asleep else awake(module), PixelFeatures(features, memories), rows)


def close(first: Sequence[Any] | Tensor, second: Sequence[Any] | Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two tensors, or all predictions of two runs, agree relative to their largest value."""
    if isinstance(first, Tensor):
        assert isinstance(second, Tensor)
        scale = second.detach().abs().max().clamp_min(1)
        return first.shape == second.shape and bool((first - second).abs().max() <= tolerance * scale)
    return all(
        close(getattr(a, name), getattr(b, name), tolerance)
        for a, b in zip(first, second, strict=True)
        for name in OUTPUTS
    )


def same(first: Sequence[Any], second: Sequence[Any], image: int | None = None) -> bool:
    """Whether all predictions of two runs are equal bit for bit, of all images or of one."""
    pick = slice(None) if image is None else image
    return all(
        torch.equal(getattr(a, name)[pick], getattr(b, name)[pick])
        for a, b in zip(first, second, strict=True)
        for name in OUTPUTS
    )
