"""Defects for pictures that have none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SyntheticDefect(BaseTransform):
    """Spoil a part of the good pictures by a blot or a scratch, so that good pictures alone can teach what is bad.

    A blot or a line of chance takes the place of what was there: another place of the same picture, or one colour.
    Required keys: ``img`` (H, W, 3) uint8 and ``gt_label``; changed: ``img``, ``gt_label``, ``gt_mask``. Pictures with
    a defect of their own stay as they are. Chance is NumPy's global state, which the suite seeds for every sample.

    Args:
        prob: Share of the good pictures that are spoilt.
        size: Range of a defect's radius or length as a share of the shorter side.

    Raises:
        ValueError: If a number makes no sense.

    Source: the two kinds of Li et al., "CutPaste", CVPR 2021, patch and scar, in rounded outlines.
    """

    def __init__(self, prob: float = 0.5, size: tuple[float, float] = (0.05, 0.15)) -> None:
        if not 0 <= prob <= 1 or not 0 < size[0] <= size[1] <= 1:
            raise ValueError(f'SyntheticDefect: prob={prob} must be a share and size={size} a range within 0..1.')
        self.prob, self.size = prob, size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        draw: Any = np.random  # the state that is seeded per sample
        if results['gt_label'] or draw.rand() >= self.prob:
            return results
        image = results['img']
        cover = _outline(draw, image.shape[:2], draw.uniform(*self.size) * min(image.shape[:2]))
        if draw.rand() < 0.5:
            shift = [int(draw.randint(side // 4, side - side // 4)) for side in image.shape[:2]]
            filling = np.roll(image, shift, axis=(0, 1))
        else:
            filling = np.broadcast_to(draw.randint(0, 256, 3), image.shape)
        share = cover[..., None].astype(np.float32) / 255
        results['img'] = (image * (1 - share) + filling * share).round().astype(np.uint8)
        results['gt_mask'] = (cover > 127).astype(np.uint8)
        results['gt_label'] = 1
        return results


def _outline(draw: Any, size: tuple[int, int], radius: float) -> np.ndarray:
    """A blot or a line within a picture, 0..255 (H, W)."""
    cover = np.zeros(size, np.uint8)
    height, width = size
    at = np.array([draw.uniform(0.2, 0.8) * width, draw.uniform(0.2, 0.8) * height])
    if draw.rand() < 0.5:
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        wave = radius * draw.uniform(0.6, 1.2, 16)
        points = at + np.stack([np.cos(angle), np.sin(angle)], axis=1) * wave[:, None]
        cv2.fillPoly(cover, [(points * 16).round().astype(np.int32)], 255, cv2.LINE_AA, 4)
        return cover
    heading = draw.uniform(0, 2 * np.pi) + np.cumsum(draw.normal(0, 0.5, 6))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * radius * 0.6
    thick = max(1, round(0.03 * min(size)))
    cv2.polylines(
        cover, [((at + np.cumsum(steps, axis=0)) * 16).round().astype(np.int32)], False, 255, thick, cv2.LINE_AA, 4
    )
    return cover
