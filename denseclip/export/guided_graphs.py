"""Mask generators that listen to the words: the classes of a call are a third input, ``prompts`` (P, E).

They are the mean directions of the names of each class, at length one; the runtime makes them of the rows of ``text``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseclip.export.graphs import example_text
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.mask_graphs import MaskGraph
from denseclip.export.region_graphs import ProposalGraph
from denseclip.models.heads.pmp import PromptTokens


class _Guided(ImageGraph):
    """What both kinds share: the third input."""

    free: Mapping[str, Mapping[int, str]] = MappingProxyType({'prompts': MappingProxyType({0: 'p'})})

    def more(self, height: int, width: int) -> dict[str, Tensor]:
        """Prompts of random numbers, of another number for other sizes and the same at every call: so is the check."""
        del width
        numbers = torch.Generator(device='cpu').manual_seed(height)
        return {'prompts': example_text(1 + height % 5, self.model.text.tower.embed_dim, True, numbers)}

    def more_of_photographs(self, height: int, width: int) -> dict[str, np.ndarray]:
        """Prompts of the words that the model has."""
        del height, width
        with torch.inference_mode():
            return {'prompts': self.model.inference_table().tokens[:, 0].float().numpy()}


class GuidedMaskGraph(_Guided, MaskGraph):
    """PMP on FC-CLIP and MAFT+."""

    def forward(self, images: Tensor, text: Tensor, prompts: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See :class:`MaskGraph`; prompts (P, E)."""
        with _guide(self.model, images, prompts):
            return super().forward(images, text)


class GuidedProposalGraph(_Guided, ProposalGraph):
    """PMP on OVSeg."""

    def forward(self, images: Tensor, text: Tensor, prompts: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See :class:`ProposalGraph`; prompts (P, E)."""
        with _guide(self.model, images, prompts):
            return super().forward(images, text)


@contextmanager
def _guide(model: Any, images: Tensor, prompts: Tensor) -> Iterator[None]:
    """Let the queries of a model look at these prompts, whatever its words are."""
    tokens = prompts.expand(images.shape[0], -1, -1)
    bound = model.prompt_guide.bind(PromptTokens(tokens, torch.zeros_like(tokens[..., 0], dtype=torch.bool)))
    model.query_guide = lambda batch, samples=None: bound
    try:
        yield
    finally:
        del model.query_guide
