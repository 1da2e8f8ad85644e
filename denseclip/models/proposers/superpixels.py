"""Masks that know nothing but colours: superpixels of several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor

from .base import PictureProposer

METHODS = ('felzenszwalb', 'slic')


@MODELS.register_module()
class SuperpixelMasks(PictureProposer):
    """Superpixels of scikit-image at several scales, each a mask; they overlap between scales.

    Args:
        method: ``'felzenszwalb'`` (Felzenszwalb and Huttenlocher 2004: regions of any size, along edges) or ``'slic'``
            (Achanta et al. 2012: regions of about one size).
        scales: One division of the picture for each: how large regions become with Felzenszwalb's method, for pictures
            of 512 pixels at the longer side (others are scaled alike); the number of regions with SLIC.
        sigma: Width of the Gaussian that smooths the picture before, in pixels.
        min_area: Smaller regions are joined to neighbours (felzenszwalb) or left out (slic); share of the picture.
        max_masks: The largest so many masks are kept.
        max_side: Larger pictures are divided at this size of their longer side, and the masks enlarged.

    Raises:
        ImportError: If scikit-image is not installed.
    """

    def __init__(
        self,
        method: str = 'felzenszwalb',
        scales: Sequence[float] = (100.0, 300.0, 900.0),
        sigma: float = 0.8,
        min_area: float = 0.002,
        max_masks: int = 100,
        max_side: int = 512,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method='{method}' is unknown; choose from {', '.join(METHODS)}.")
        try:
            import skimage.segmentation  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "SuperpixelMasks needs scikit-image (pip install 'denseclip-suite[superpixels]'); or take masks from "
                'files (MaskFiles).'
            ) from error
        self.method, self.scales, self.sigma = method, tuple(scales), sigma
        self.min_area, self.max_masks, self.max_side = min_area, max_masks, max_side

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """See :meth:`PictureProposer.find`."""
        del meta
        pixels = self._shrink(picture.cpu().numpy())
        maps = torch.from_numpy(np.stack([self._divide(pixels, scale) for scale in self.scales])).long()
        # One number per region of any scale, then the largest regions.
        first = torch.cat([maps.new_zeros(1), (maps.flatten(1).amax(dim=1) + 1).cumsum(0)[:-1]])
        maps = maps + first[:, None, None]
        areas = maps.flatten().bincount()
        kept = areas.argsort(descending=True, stable=True)[: self.max_masks]
        kept = kept[areas[kept] >= self.min_area * pixels.shape[0] * pixels.shape[1]]
        level = torch.bucketize(kept, first, right=True) - 1
        return maps[level] == kept[:, None, None], None

    def _shrink(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        factor = self.max_side / max(height, width)
        if factor >= 1:
            return pixels
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    def _divide(self, pixels: np.ndarray, scale: float) -> np.ndarray:
        """Region number of each pixel, from 0."""
        from skimage.segmentation import felzenszwalb, slic

        least = max(1, round(self.min_area * pixels.shape[0] * pixels.shape[1]))
        if self.method == 'felzenszwalb':
            return felzenszwalb(pixels, scale * max(pixels.shape[:2]) / 512, self.sigma, least)
        return slic(pixels, round(scale), sigma=self.sigma, start_label=0)
