"""Resizing by Pillow, which smooths when it shrinks, as detectron2's models are trained and tested with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from PIL import Image

_LABELS = ('pillow', 'floor')


@TRANSFORMS.register_module()
class PillowResizeShortSide(BaseTransform):
    """Bring the short side to a size, unless the long side would exceed another; the aspect ratio stays.

    Pictures are resized by Pillow's bilinear filter, which averages all pixels that fall into one (OpenCV's and
    mmcv's bilinear filter takes four of them, so that shrunk pictures differ), label maps by Pillow's nearest.
    mmseg's ``ResizeShortestEdge`` is the same rule with OpenCV's filter and other rounding.

    Source: detectron2's ``ResizeShortestEdge`` as configured by FC-CLIP and MAFT+: 800, at most 1333.

    Args:
        short_side: Length in pixels, or several to choose from at random.
        max_long_side: In pixels; None: no limit.
        labels: Pixel that a label is taken from: ``'pillow'``, the one at the centre, or ``'floor'``, the one at the
            upper left corner, as detectron2 does with label maps that are not 8-bit (those of its training mappers).

    Raises:
        ValueError: If a length is not positive or ``labels`` is unknown.
    """

    def __init__(
        self, short_side: int | Sequence[int] = 800, max_long_side: int | None = 1333, labels: str = 'pillow'
    ) -> None:
        if labels not in _LABELS:
            raise ValueError(f"labels='{labels}' is unknown: choose from {', '.join(_LABELS)}")
        self.labels = labels
        self.short_sides = (short_side,) if isinstance(short_side, int) else tuple(short_side)
        self.max_long_side = max_long_side
        if not self.short_sides or min(self.short_sides) < 1 or (max_long_side is not None and max_long_side < 1):
            raise ValueError(f'lengths must be positive, got {short_side} and {max_long_side}')

    def target_size(self, size: tuple[int, int], short_side: int | None = None) -> tuple[int, int]:
        """Height and width that a picture of ``size`` (height, width) gets; halves are rounded up."""
        height, width = size
        short = float(self.short_sides[0] if short_side is None else short_side)
        scale = short / min(height, width)
        new_height, new_width = (short, scale * width) if height < width else (scale * height, short)
        if self.max_long_side is not None and max(new_height, new_width) > self.max_long_side:
            scale = self.max_long_side / max(new_height, new_width)
            new_height, new_width = new_height * scale, new_width * scale
        return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize ``img`` and all label maps (``seg_fields``)."""
        image = results['img']
        old = image.shape[:2]
        chosen = int(np.random.choice(self.short_sides)) if len(self.short_sides) > 1 else None  # noqa: NPY002
        new = self.target_size(old, chosen)
        results['img'] = resize_picture(image, new)
        for key in results.get('seg_fields', []):
            results[key] = resize_label_map(results[key], new, self.labels)
        results['img_shape'] = new
        results['scale'] = new[::-1]
        results['scale_factor'] = (new[1] / old[1], new[0] / old[0])
        results['keep_ratio'] = True
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(short_side={self.short_sides}, max_long_side={self.max_long_side})'


def resize_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 pixels (H, W, 3) or (H, W), any order of channels, by Pillow's bilinear filter with antialiasing."""
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_label_map(labels: np.ndarray, size: tuple[int, int], method: str = 'pillow') -> np.ndarray:
    """Resize integers (H, W) by nearest neighbour; the type stays.

    Args:
        labels: The map.
        size: New height and width.
        method: See :class:`PillowResizeShortSide`.
    """
    if method == 'floor':
        exact = torch.from_numpy(labels.astype(np.float64))[None, None]
        return F.interpolate(exact, size=size, mode='nearest')[0, 0].numpy().astype(labels.dtype)
    wide = Image.fromarray(labels.astype(np.int32))  # Pillow's mode of 32-bit integers
    return np.asarray(wide.resize(size[::-1], Image.Resampling.NEAREST)).astype(labels.dtype)
