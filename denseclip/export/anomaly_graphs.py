"""Anomaly models as one function of pictures and the two states of an object.

A graph gives ``map`` (N, 1, H, W), a raw score for every pixel of its input, and ``score`` (N), one for each picture.
What AnoVL makes of the tiles of a picture the runtime puts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseclip.export.image_graphs import ImageGraph
from denseclip.models.anomaly.state_text import StateText
from denseclip.models.functional.anomaly_scores import abnormal_probability, smooth, upsample


class AnomalyGraph(ImageGraph):
    """Base of the graphs."""

    outputs = ('map', 'score')
    seen = ('map',)
    changes = 'places of a map, by more than a hundredth of its range,'
    cases = (
        (1, 240, 240, 2),
        (1, 131, 97, 2),
        (2, 64, 96, 2),
        (1, 161, 75, 2),
        (1, 50, 257, 2),
        (2, 112, 113, 2),
    )

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.least = max(model.image_tower.multiple) * max(getattr(model, 'scales', (1,)))

    def changed(self, found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """See :class:`ImageGraph`."""
        far = np.abs(found[0] - right[0])
        return float((far > 0.01 * (right[0].max() - right[0].min())).mean())


class AnoVLGraph(AnomalyGraph):
    """AnoVL without adaptation, its views of a picture inside."""

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Maps and scores of pictures or tiles (N, 3, H, W) for states (2, E)."""
        model = self.model
        pooled, tokens = model.embed(images)
        scores = abnormal_probability(tokens, text)[:, None]
        maps = upsample(smooth(scores) if model.smoothing else scores, (images.shape[-2], images.shape[-1]))
        return maps, model.view_scores(images, pooled, StateText(text, text)).mean(dim=1)


class WinCLIPGraph(AnomalyGraph):
    """WinCLIP without references."""

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Maps and scores of pictures (N, 3, H, W) for states (2, E)."""
        model, states = self.model, StateText(text, text)
        features = model.embed(images)
        maps = model.zero_shot_map(features, states)[:, None]
        size = (images.shape[-2], images.shape[-1])
        return upsample(maps, size, align_corners=False), model._probability(features.pooled, states)


class AprilGANGraph(AnomalyGraph):
    """APRIL-GAN, its trained layers inside."""

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Maps and scores of pictures (N, 3, H, W) for states (2, E)."""
        maps, pooled = self.model.layer_maps(images, text[None])
        return torch.stack(maps).mean(dim=0)[:, 1:], abnormal_probability(pooled, text, 1 / self.model.scale)
