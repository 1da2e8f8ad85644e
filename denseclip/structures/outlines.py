"""Masks as polygons along the edges of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

_MOST_LOST = 0.03
"""Part of an area that straighter edges may add or take away."""

_TRIED = 64
"""Corners of an outline that a bridge may begin at: the shortest bridge is a matter of looks alone."""

_NEIGHBOURS = 8
"""Outlines before one, in bands from the top, that a bridge may lead to; and, besides, the largest."""


def opencv(what: str = 'outlines') -> Any:
    """OpenCV, late: exported models run where it is not installed, and masks need none of it.

    Args:
        what: What needs it, in words, for the message.

    Raises:
        ImportError: There.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f'{what} need OpenCV, which is not installed: pip install opencv-python-headless') from error
    return cv2


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
    cv2 = opencv()
    found, _ = cv2.findContours(_twice(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [_simpler(_edges(contour), tolerance) for contour in found]
    return sorted(polygons, key=lambda polygon: -abs(cv2.contourArea(polygon.astype(np.float32))))


def keyhole(mask: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """One polygon for a whole mask: areas are joined, and holes opened, by bridges there and back without width.

    By the rule of even and odd, which pycocotools and OpenCV fill by, such a polygon covers what the mask does.

    Args:
        mask: Bool, shape (H, W), with at least one pixel.
        tolerance: See :func:`outlines`.

    Returns:
        ``n x 2`` (x, y), float64.
    """
    cv2 = opencv()
    inside, (row, column) = _cut(mask)
    found, _ = cv2.findContours(_twice(inside), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_simpler(_edges(contour), tolerance) for contour in found]
    return _joined(_in_bands(rings, inside.shape[0])) + (column, row)


def _cut(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """What a mask has inside its box, and the first row and column of that."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (int(rows[0]), int(columns[0]))


def _in_bands(rings: list[np.ndarray], height: int) -> list[np.ndarray]:
    """Rings in an order in which neighbours mostly stand near each other: there and back, in bands from the top."""
    band = max(1.0, height / max(1.0, len(rings) ** 0.5))
    keys = [(int(ring[0, 1] // band), ring[0, 0]) for ring in rings]
    order = sorted(range(len(rings)), key=lambda k: (keys[k][0], keys[k][1] * (-1) ** keys[k][0]))
    return [rings[k] for k in order]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One polygon through all rings, by bridges from each to the largest or to one of those shortly before it."""
    cv2 = opencv()
    areas = [abs(cv2.contourArea(ring.astype(np.float32))) for ring in rings]
    largest = areas.index(max(areas))
    turned = [rings[0]]  # each from where its bridge arrives, round to there again
    leaving: list[list[tuple[int, int]]] = [[] for _ in rings]  # by ring: where a bridge leaves it, and to which
    for number, ring in enumerate(rings[1:], start=1):
        near = sorted({min(largest, number - 1), *range(max(0, number - _NEIGHBOURS), number)})
        steps = [max(1, len(turned[k]) // (4 * _TRIED if k == largest else _TRIED)) for k in near]
        some = [turned[k][::step] for k, step in zip(near, steps, strict=True)]
        step = max(1, len(ring) // _TRIED)
        apart = np.abs(np.concatenate(some)[:, None] - ring[None, ::step]).sum(axis=2)
        here, place = divmod(int(apart.argmin()), apart.shape[1])
        for k, corners, stride in zip(near, some, steps, strict=True):
            if here < len(corners):
                leaving[k].append((here * stride, number))
                break
            here -= len(corners)
        there = place * step
        turned.append(np.concatenate([ring[there:], ring[: there + 1]]))
    pieces = []
    todo = [(0, 0, 0)]  # a ring, from which of its corners on, and which of its bridges is next
    for bridges in leaving:
        bridges.sort()
    while todo:
        ring_number, begin, bridge = todo.pop()
        if bridge == len(leaving[ring_number]):
            pieces.append(turned[ring_number][begin:])
            continue
        corner, number = leaving[ring_number][bridge]
        pieces.append(turned[ring_number][begin : corner + 1])
        todo += [(ring_number, corner, bridge + 1), (number, 0, 0)]
    return np.concatenate(pieces)


def _twice(mask: np.ndarray) -> np.ndarray:
    # In a picture of twice the size each pixel has a first and a second half: outlines run through the middle of one of
    # them, which tells the edge that they belong to.
    return np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)


def _edges(contour: np.ndarray) -> np.ndarray:
    """Corners of pixels that a contour in the picture of twice the size runs through."""
    return (contour[:, 0].astype(np.int64) + 1) // 2


def has_holes(mask: np.ndarray) -> bool:
    """Whether an area of a mask encloses pixels that are not in it."""
    cv2 = opencv()
    _, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return tree is not None and bool((tree[0][:, 3] >= 0).any())


def _simpler(points: np.ndarray, tolerance: float) -> np.ndarray:
    cv2 = opencv()
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
