"""Query-based models as one function of pictures and names.

A graph gives ``masks`` (N, Q, h, w), logits of the masks, and two scores of each mask for every row of ``text``, "void"
last: ``trained`` (N, Q, R + 1), of the mask generator, and ``clip`` (N, Q, R + 1). Names become classes, and masks
labels, segments or instances, in the runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.export.image_graphs import ImageGraph
from denseclip.models.segmentors.fcclip import MULTIPLE
from denseclip.runtime.confidences import softmax


class MaskGraph(ImageGraph):
    """FC-CLIP and MAFT+: attention jumps where a pixel enters a mask."""

    outputs: tuple[str, ...] = ('masks', 'trained', 'clip')
    jumps = True
    multiple = MULTIPLE
    seen = ('masks', 'trained')

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if getattr(model, 'ensemble_on_valid_mask', False):
            self.outputs = (*self.outputs, 'valid')

    def changed(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """See :class:`ImageGraph`; labels by the trained classifier."""
        return float((labels_of(*found) != labels_of(*right)).mean())

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Masks and scores of pictures (N, 3, H, W), sides multiples of 32, for names (R, E)."""
        model = self.model
        void = F.normalize(model.void_embedding.weight, dim=-1)
        with _rows(model, torch.cat([text, void])):
            features = model.backbone(images)
            found = model.propose(features)
            scores = model.trained_logits(found), model.clip_logits(features, found.mask_logits)
        if 'valid' not in self.outputs:
            return found.mask_logits, *scores
        inside = (model.backbone.masks_at(features, found.mask_logits) > 0).flatten(2).any(dim=-1)
        return found.mask_logits, *scores, inside.to(images.dtype)


def labels_of(masks: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Labels (N, h, w) at the resolution of the masks, by the trained classifier alone."""
    shares = softmax(np.moveaxis(trained, -1, 0))[:-1]
    return np.einsum('knq,nqhw->nkhw', shares, 1 / (1 + np.exp(-masks))).argmax(axis=1)


@contextmanager
def _rows(model: Any, rows: Tensor) -> Iterator[None]:
    """Let a model compare with these rows, each a class of its own."""
    names = torch.ones_like(rows[:-1, 0], dtype=torch.long)
    model.text_rows = lambda: (rows, names)
    try:
        yield
    finally:
        del model.text_rows
