"""Simple operations on masks and label maps, with numpy alone: pictures of results need no OpenCV.

Where it is loaded anyway, the slow ones are done by it, with the same results (depths: to a thousandth of a pixel).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Size = tuple[int, int]
"""Height and width."""
_STRAIGHT, _SLANTING = 62587, 89738
"""Length of a step to the side and over a corner in parts of :data:`_UNIT`: 0.955 and 1.3693 (Borgefors 1986)."""
_UNIT = 65536


def nearest(values: np.ndarray, size: Size) -> np.ndarray:
    """An array (H, W, ...) at another size; every pixel is one of the array's, never a mean."""
    rows, columns = (
        np.minimum((np.arange(out) * (length / out)).astype(np.int64), length - 1)
        for length, out in zip(values.shape[:2], size, strict=True)
    )
    return values[rows[:, None], columns]


def thicken(mask: np.ndarray, thickness: int) -> np.ndarray:
    """Where a round brush of some width covers a pixel of a mask (H, W), bool."""
    radius = thickness // 2
    padded = np.pad(mask, thickness)
    result = np.zeros(mask.shape, dtype=bool)
    height, width = mask.shape
    for dy in range(-radius, thickness - radius):
        reach = round(radius * max(0.0, 1 - (dy / max(radius, 1)) ** 2) ** 0.5)
        for dx in range(-reach, min(reach, thickness - 1 - radius) + 1):
            top, left = thickness + dy, thickness + dx
            result |= padded[top : top + height, left : left + width]
    return result


def soften(line: np.ndarray) -> np.ndarray:
    """A mask (H, W) of 0 and 255 with soft edges: the mean over 3 x 3 pixels, weighted 1, 2, 1; ``uint8``."""
    wide = np.pad(line.astype(np.uint16), 1, mode='reflect')
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) >> 4).astype(np.uint8)


def largest_area(mask: np.ndarray) -> np.ndarray:
    """The largest connected area of a mask (H, W), bool; neighbours share a side. Empty for an empty mask."""
    cv2: Any = sys.modules.get('cv2')
    if cv2 is not None:
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
        return parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else np.zeros_like(mask)
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    if not len(rows):
        return np.zeros_like(mask, dtype=bool)
    owner = _joined(rows, starts, stops)
    sizes = np.bincount(owner, weights=stops - starts, minlength=len(rows))
    result = np.zeros(mask.shape, dtype=bool)
    for run in np.flatnonzero(owner == sizes.argmax()):
        result[rows[run], starts[run] : stops[run]] = True
    return result


def _joined(rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """A number for each run of pixels, the same for runs that touch one another."""
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(int(rows[-1]) + 2))  # of each row
    for row in range(int(rows[0]), int(rows[-1])):
        above, below = int(first[row]), int(first[row + 1])
        end_above, end_below = below, int(first[row + 2]) if row + 2 < len(first) else len(rows)
        while above < end_above and below < end_below:
            if starts[above] < stops[below] and starts[below] < stops[above]:
                one, other = sorted((root(above), root(below)))
                parent[other] = one  # so the first of areas of one size is the one that begins further up
            if stops[above] < stops[below]:
                above += 1
            else:
                below += 1
    return np.array([root(run) for run in range(len(rows))])


def depth(mask: np.ndarray) -> np.ndarray:
    """How far every pixel of a mask is from the nearest pixel outside, the border of the array included.

    Steps go to the side and over corners, whose lengths keep the error below 4 % in every direction.

    Args:
        mask: Bool.

    Returns:
        Pixels, float32; 0 outside.

    Shape:
        - mask, result: :math:`(H, W)`
    """
    cv2: Any = sys.modules.get('cv2')
    if cv2 is not None:
        return cv2.distanceTransform(np.pad(mask, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    far = np.iinfo(np.int64).max // 4
    found = np.where(np.pad(mask, 1), far, 0).astype(np.int64)
    steps = np.arange(found.shape[1]) * _STRAIGHT
    for rows, way in ((range(1, len(found)), 1), (range(len(found) - 2, -1, -1), -1)):
        for row in rows:
            before, here = found[row - way], found[row]
            near = np.minimum(here, before + _STRAIGHT)
            near[1:] = np.minimum(near[1:], before[:-1] + _SLANTING)
            near[:-1] = np.minimum(near[:-1], before[1:] + _SLANTING)
            # Along the row, in the direction of the pass.
            line = near[::way]
            found[row, ::way] = np.minimum.accumulate(line - steps) + steps
    return (found[1:-1, 1:-1] / _UNIT).astype(np.float32)
