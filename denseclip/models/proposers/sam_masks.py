"""Masks from Segment Anything, where its package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.models.providers import SAMRegions

from .base import PictureProposer


@MODELS.register_module()
class SAMMasks(PictureProposer):
    """Automatic masks of ``segment_anything``, overlapping as they come, with its own estimate of their quality.

    Args:
        model: Name in the package's registry: ``'vit_b'``, ``'vit_l'`` or ``'vit_h'``.
        pretrained: Weight source (see ``denseclip.weights.resolve``).
        **options: Arguments of the package's ``SamAutomaticMaskGenerator`` (``points_per_side`` ...).

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(self, model: str = 'vit_b', pretrained: str | None = None, **options: Any) -> None:
        super().__init__()
        self.sam = SAMRegions(model, pretrained, **options)

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """See :meth:`PictureProposer.find`."""
        del meta
        found = self.sam.generate(picture.cpu().numpy())
        if not found:
            return torch.zeros((0, *picture.shape[:2]), dtype=torch.bool), None
        masks = torch.stack([torch.as_tensor(entry['segmentation']).bool() for entry in found])
        return masks, torch.tensor([float(entry['predicted_iou']) for entry in found])
