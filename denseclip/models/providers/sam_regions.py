"""Regions from Segment Anything, where its package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.weights import load_into, read_state_dict, resolve, weight_file

from .base import MaskRegions


@MODELS.register_module()
class SAMRegions(MaskRegions):
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
                'SAMRegions needs the package segment_anything (pip install segment-anything); or take '
                'TransformersRegions with a folder of SAM, SAM 2 or EoMT, or write regions into files with any program '
                'and use RegionFiles.'
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

    def masks(self, picture: Tensor, meta: Mapping[str, Any]) -> Tensor:
        """See :meth:`MaskRegions.masks`."""
        del meta
        found = [torch.as_tensor(entry['segmentation']).bool() for entry in self.generate(picture.cpu().numpy())]
        return torch.stack(found) if found else torch.zeros((0, *picture.shape[:2]), dtype=torch.bool)
