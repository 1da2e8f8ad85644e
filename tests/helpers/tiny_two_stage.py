"""A small two-stage segmentor whose masks a test makes up."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors import TwoStageSegmentor
from denseclip.structures import MaskProposals

ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=8, layers=3, width=24, head_width=8),
    text_cfg=dict(width=16, heads=2, layers=1),
)
CLASSES = ['sky', ('car', ['automobile']), 'road']


class GivenMasks(nn.Module):
    """A proposer that returns what it was given, for every picture of a batch."""

    def __init__(self, logits: Tensor, embeddings: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer('logits', logits)
        self.register_buffer('embeddings', embeddings)

    def forward(self, images: Tensor, metas: Any) -> MaskProposals:
        del metas

        def each(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[None].expand(len(images), *value.shape).to(images.device)

        return MaskProposals(each(self.logits), each(self.embeddings))


def random_masks(count: int, size: tuple[int, int] = (8, 10), seed: int = 0) -> Tensor:
    """Logits of smooth blobs, at a quarter of a picture of 32 x 40."""
    noise = torch.randn(count, 1, 3, 4, generator=torch.Generator().manual_seed(seed)) * 6
    return nn.functional.interpolate(noise, size=size, mode='bilinear')[:, 0]


def tiny_clip(seed: int = 0, **arch: Any) -> OpenCLIPParts:
    """A small CLIP with random weights."""
    tokenizer = _tokenizer()  # before the seed: the first call draws random numbers, the others none
    torch.manual_seed(seed)
    parts = OpenCLIPParts('ViT-B-16', arch={**ARCH, **arch}, quick_gelu=True)
    parts.clip.tokenizer = tokenizer
    return parts


@functools.cache
def _tokenizer() -> Any:
    """The tokenizer of all of them, which takes longer to make than the model."""
    return OpenCLIPParts('ViT-B-16', arch=ARCH).clip.tokenizer


def tiny_two_stage(masks: Tensor | None = None, embeddings: Tensor | None = None, **settings: Any) -> TwoStageSegmentor:
    """A model in evaluation mode.

    Args:
        masks: Mask logits (Q, h, w); None: six blobs.
        embeddings: Class embeddings of the first stage (Q, 16).
        settings: Arguments of the segmentor.
    """
    settings.setdefault('vocabulary', CLASSES)
    settings.setdefault('region_classifier', dict(threshold=0.4, prompt_depth=2, batch_size=4))
    proposer = GivenMasks(random_masks(6) if masks is None else masks, embeddings)
    return TwoStageSegmentor(tiny_clip(), templates='photo', proposer=proposer, **settings).eval()


def random_embeddings(count: int, seed: int = 1) -> Tensor:
    """Class embeddings of masks (count, 16)."""
    return torch.randn(count, ARCH['embed_dim'], generator=torch.Generator().manual_seed(seed))
