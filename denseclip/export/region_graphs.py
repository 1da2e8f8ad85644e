"""Two-stage models as two functions: masks of a picture, and embeddings of pictures of masks.

The first gives ``masks`` (N, Q, h, w), logits, and ``trained`` (N, Q, R + 1), logits of the mask generator's own
classifier for every row of ``text``, "no object" last. The second takes ``pictures`` (V, 3, S, S) of masks, and the
``masks`` (V, S, S) themselves where CLIP has prompts for what they leave out. The runtime cuts the pictures out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.export.image_graphs import ImageGraph
from denseclip.export.mask_graphs import labels_of
from denseclip.models.functional.mask_prompts import encode_with_masks


class ProposalGraph(ImageGraph):
    """The mask generator of OVSeg."""

    outputs: tuple[str, ...] = ('masks', 'trained')
    seen = ('masks', 'trained')

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.multiple = model.size_divisor

    def changed(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """See :class:`ImageGraph`; labels by the trained classifier."""
        return float((labels_of(*found) != labels_of(*right)).mean())

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Masks and logits of pictures (N, 3, H, W), sides multiples of 32, for rows (R, E)."""
        model = self.model
        rows = torch.cat([text, model.no_object_row().to(text.dtype)])
        names = torch.ones_like(text[:, 0], dtype=torch.long)
        pixels = model.decode_head.pixel_features(model.backbone(images))
        guide = model.query_guide(images.shape[0], None)
        found = model.decode_head.decode(pixels, rows, names, guide, all_layers=False).proposals
        return found.mask_logits, model.scale * F.normalize(found.class_embeddings, dim=-1) @ rows.T


class RegionGraph(nn.Module):
    """The second stage.

    Args:
        classifier: A ``RegionClassifier``.

    Attributes:
        prompted: Whether it takes masks.
        size: Height and width of pictures of masks.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.prompts: Tensor | None
        self.tower = classifier.tower
        self.prompted = bool(classifier.use_prompts and classifier.mask_embedding is not None)
        prompts = classifier.mask_embedding.detach().clone() if self.prompted else None
        self.register_buffer('prompts', prompts)
        self.size = (int(classifier.size[0]), int(classifier.size[1]))

    def example(self, count: int, numbers: torch.Generator | None = None) -> dict[str, Tensor]:
        """Inputs of random numbers; half of each mask is empty."""
        pictures = torch.randn(count, 3, *self.size, generator=numbers, device='cpu')
        if not self.prompted:
            return {'pictures': pictures}
        masks = (torch.rand(count, *self.size, generator=numbers, device='cpu') > 0.5).to(pictures.dtype)
        masks[:, self.size[0] // 2 :] = 0
        return {'pictures': pictures, 'masks': masks}

    def forward(self, pictures: Tensor, masks: Tensor | None = None) -> Tensor:
        """Embeddings of length one, (V, E), of normalised pictures (V, 3, S, S) and masks (V, S, S)."""
        return F.normalize(encode_with_masks(self.tower, pictures, masks, self.prompts), dim=-1)
