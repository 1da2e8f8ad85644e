"""Regions from Segment Anything, where its package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.weights import load_into, read_state_dict, resolve, weight_file

from .base import RegionProvider


@MODELS.register_module()
class SAMRegions(RegionProvider):
    """Automatic masks of ``segment_anything``; where masks overlap, the smaller one counts.

    Args:
        model: Name in the package's registry: ``'vit_b'``, ``'vit_l'`` or ``'vit_h'``.
        pretrained: Weight source (see ``denseclip.weights.resolve``).
        **options: Arguments of the package's ``SamAutomaticMaskGenerator`` (``points_per_side`` ...).

    Raises:
        ImportError: If the package is not installed.
    """

    not_saved_prefixes = ('',)

    def __init__(self, model: str = 'vit_b', pretrained: str | None = None, **options: Any) -> None:
        super().__init__()
        try:
            import segment_anything
        except ImportError as error:
            raise ImportError(
                'SAMRegions needs the package segment_anything (pip install segment-anything); or write regions into '
                'files with any program and use RegionFiles.'
            ) from error
        if model not in segment_anything.sam_model_registry:
            known = ', '.join(segment_anything.sam_model_registry)
            raise ValueError(f"segment_anything has no model '{model}'; choose from {known}.")
        self.sam: Any = segment_anything.sam_model_registry[model](checkpoint=None).eval().requires_grad_(False)
        if pretrained is not None:
            file: Path = weight_file(resolve(pretrained))
            load_into(self.sam, read_state_dict(file), source=file)
        self._generator = [segment_anything.SamAutomaticMaskGenerator(self.sam, **options)]
        leave_out_of_checkpoints(self)

    def generate(self, picture: np.ndarray) -> list[dict[str, Any]]:
        """The package's own automatic masks of a picture, RGB uint8 (H, W, 3)."""
        return self._generator[0].generate(picture)

    @torch.no_grad()
    def forward(self, image: Tensor, spec: PreprocessSpec, size: tuple[int, int], meta: Mapping[str, Any]) -> Tensor:
        """See :meth:`RegionProvider.forward`."""
        del meta
        picture = denormalize_pictures(image[None], spec).clamp(0, 1)
        picture = F.interpolate(picture, size=size, mode='bilinear', align_corners=False)[0]
        found = self.generate((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy())
        if not found:
            return torch.full(size, -1, dtype=torch.long, device=image.device)
        masks = torch.stack([torch.as_tensor(m['segmentation'], device=image.device) for m in found]).bool()
        masks = masks[masks.flatten(1).sum(dim=1).argsort()]  # smallest first: argmax finds the first that holds
        return torch.where(masks.any(dim=0), masks.to(torch.uint8).argmax(dim=0), -1)
