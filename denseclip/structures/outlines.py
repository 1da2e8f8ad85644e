"""Masks as run lengths and as polygons along the edges of their pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

_MOST_LOST = 0.03
"""Part of an area that straighter edges may add or take away."""


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask in COCO's compressed run lengths, which ``pycocotools.mask.decode`` reads.

    Args:
        mask: Bool, shape (H, W).

    Returns:
        ``size`` (height, width) and ``counts`` as text.
    """
    from pycocotools import mask as coco_mask

    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': [int(side) for side in coded['size']], 'counts': coded['counts'].decode('ascii')}


def outlines(mask: np.ndarray, tolerance: float = 0.0) -> list[np.ndarray]:
    """Polygons around the connected areas of a mask; holes are not seen, see :func:`has_holes`.

    Points lie on the edges of pixels, where pixel ``i`` reaches from ``i`` to ``i + 1``, as COCO and labelme have it.

    Args:
        mask: Bool, shape (H, W).
        tolerance: How far a polygon may run from these edges, in pixels; 0 follows every step. 1 makes slanting edges
            straight, with few points that people can move; areas keep their size within 3 %.

    Returns:
        A polygon ``n x 2`` (x, y), float64, of at least three points for each area, largest first.
    """
    # In a picture of twice the size each pixel has a first and a second half: outlines run through the middle of one of
    # them, which tells the edge that they belong to.
    twice = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    found, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [_simpler((contour[:, 0].astype(np.int64) + 1) // 2, tolerance) for contour in found]
    return sorted(polygons, key=lambda polygon: -abs(cv2.contourArea(polygon.astype(np.float32))))


def has_holes(mask: np.ndarray) -> bool:
    """Whether an area of a mask encloses pixels that are not in it."""
    _, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return tree is not None and bool((tree[0][:, 3] >= 0).any())


def _simpler(points: np.ndarray, tolerance: float) -> np.ndarray:
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    exact = corners.astype(np.float32)[:, None]
    area = cv2.contourArea(exact)
    for distance in (tolerance, tolerance / 2) if tolerance > 0 else ():
        fewer = cv2.approxPolyDP(exact, distance, closed=True)
        # Small areas have no pixel to spare.
        if len(fewer) >= 3 and abs(cv2.contourArea(fewer) - area) <= _MOST_LOST * area:
            return fewer[:, 0].astype(np.float64)
    return corners.astype(np.float64)
