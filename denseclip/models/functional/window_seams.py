"""How often windows that overlap label a pixel differently."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from denseclip.core.placement import Box, upper_left

from .tiled_label_map import tiled_label_map


def window_disagreement(maps: Sequence[Tensor], boxes: Sequence[Box]) -> tuple[int, int]:
    """Pixels that two windows label differently, and pixels that two windows see, over all pairs that overlap.

    Args:
        maps: Scores of each window at the resolution of its patches.
        boxes: Where the windows lie, in pixels of the input.

    Shape:
        - maps: :math:`(K, h, w)` each
    """
    labels = []
    for scores, (top, bottom, left, right) in zip(maps, boxes, strict=True):
        size = (bottom - top, right - left)
        labels.append(tiled_label_map([scores], [upper_left(size)], size, size))
    different = seen = 0
    for first, a in enumerate(boxes):
        for second in range(first + 1, len(boxes)):
            b = boxes[second]
            top, bottom, left, right = max(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3])
            if top >= bottom or left >= right:
                continue
            one, other = (
                labels[n][top - box[0] : bottom - box[0], left - box[2] : right - box[2]]
                for n, box in ((first, a), (second, b))
            )
            different += int((one != other).sum())
            seen += one.numel()
    return different, seen
