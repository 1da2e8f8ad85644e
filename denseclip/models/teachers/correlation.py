"""DINO as a teacher: which places of a picture belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.core.placement import pad_to_multiple
from denseclip.models.builder import build_module
from denseclip.models.functional.pictures import normalize_pictures
from denseclip.models.functional.pooling import correlations

from .base import Teacher
from .dino import DINOTower

FEATURES = ('query', 'key', 'value')


@MODELS.register_module()
class DINOTeacher(Teacher):
    """Cosines between the patches of a frozen DINO.

    Source: CLIP-DINOiser (Wysoczańska et al., ECCV 2024), section 3.3.

    Args:
        tower: The network.
        feature: Which vectors of its last attention are compared: ``'query'``, ``'key'`` or ``'value'``.

    Raises:
        ValueError: If there is no such feature.
    """

    tower: DINOTower

    def __init__(self, tower: Mapping[str, Any] | nn.Module, feature: str = 'value') -> None:
        super().__init__()
        if feature not in FEATURES:
            raise ValueError(f"feature='{feature}' is unknown; choose from {', '.join(FEATURES)}.")
        self.tower = build_module(tower)
        self.feature = feature

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Unit-length vectors of the patches.

        Args:
            images: RGB in [0, 1], any size; padded with black to whole patches.

        Shape:
            - images: :math:`(N, 3, H, W)`; result: :math:`(N, C, h, w)`
        """
        padded = pad_to_multiple(images, self.tower.patch_size)
        answer = self.tower(normalize_pictures(padded, self.tower.preprocess))
        return F.normalize(getattr(answer, self.feature), dim=1)

    def forward(self, images: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Cosines between all pairs of places.

        Args:
            images: RGB in [0, 1].
            grid: Height and width of the grid to compare on; None is the network's own. Features of another grid are
                resized bilinearly first.

        Shape:
            - images: :math:`(N, 3, H, W)`; result: :math:`(N, hw, h, w)`
        """
        features = self.features(images)
        if grid is not None and features.shape[-2:] != grid:
            features = F.interpolate(features, size=grid, mode='bilinear', align_corners=False)
        return correlations(features)
