"""Overlap of axis-aligned boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int = 0, aligned: bool = False, offset: int = 0
) -> None:
    """Write the overlaps of two box sets into ``ious``.

    Args:
        bboxes1: Boxes as ``(x1, y1, x2, y2)``.
        bboxes2: Boxes as ``(x1, y1, x2, y2)``.
        ious: Output, filled in place.
        mode: 0 for intersection over union, 1 for intersection over the area of ``bboxes1``.
        aligned: Compare row by row instead of all pairs.
        offset: Added to widths and heights (1 for inclusive pixel boxes).

    Shape:
        ``bboxes1`` (M, 4), ``bboxes2`` (N, 4), ``ious`` (M, N), or (M,) when ``aligned``.
    """
    dtype = compute_dtype(bboxes1)
    first, second = bboxes1.to(dtype), bboxes2.to(dtype)
    area1, area2 = _area(first, offset), _area(second, offset)
    if not aligned:
        first, area1 = first[:, None], area1[:, None]
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (bottom_right - top_left + offset).clamp_(min=0).prod(-1)
    ious.copy_(overlap / (area1 if mode == 1 else area1 + area2 - overlap))


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0] + offset) * (boxes[..., 3] - boxes[..., 1] + offset)
