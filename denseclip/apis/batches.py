"""Several pictures through a model: those of one shape together, results in the order of the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import pseudo_collate

from denseclip.apis.images import Picture

MOST_AT_ONCE = 16
"""Pictures of one shape that run together."""


_MAX_ASPECT = 16


def described(picture: Picture, limit: int | None) -> dict[str, Any]:
    """A picture as MMSegmentation's test transforms take it.

    Args:
        picture: The picture; strips are extended, see :func:`_extend`.
        limit: Longest side that it is scaled down to; None leaves that to the transforms.
    """
    extended = _extend(picture.bgr)
    scaled = _limit_size(extended, limit)
    return {
        'img': scaled,
        'img_path': str(picture.source or ''),
        'img_shape': scaled.shape[:2],
        'ori_shape': extended.shape[:2],
    }


def _extend(pixels: np.ndarray) -> np.ndarray:
    """Repeat the lower or right border of strips until they are at most 16 times as long as wide."""
    height, width = pixels.shape[:2]
    shortest = -(-max(height, width) // _MAX_ASPECT)
    below, right = max(0, shortest - height), max(0, shortest - width)
    if not below and not right:
        return pixels
    return cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)


def _limit_size(pixels: np.ndarray, limit: int | None) -> np.ndarray:
    long_side = max(pixels.shape[:2])
    if limit is None or long_side <= limit:
        return pixels
    height, width = (max(1, round(side * limit / long_side)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def batches(packed: Sequence[Mapping[str, Any]], most: int = MOST_AT_ONCE) -> Iterator[tuple[list[int], Any]]:
    """Group packed pictures.

    Args:
        packed: What test transforms made of each picture: ``inputs`` and ``data_samples``.
        most: Pictures that run together.

    Yields:
        Numbers of the pictures that run together, and what ``test_step`` takes for them.
    """
    groups: dict[Any, list[int]] = {}
    for number, item in enumerate(packed):
        # Windows and paddings are told by the first picture of a batch: only what is alike in all sizes goes together.
        key = (tuple(item['inputs'].shape), *(item['data_samples'].get(k) for k in ('ori_shape', 'img_shape')))
        groups.setdefault(key, []).append(number)
    for numbers in groups.values():
        for start in range(0, len(numbers), most):
            chunk = numbers[start : start + most]
            yield chunk, pseudo_collate([packed[number] for number in chunk])


def run(
    packed: Sequence[Mapping[str, Any]], step: Callable[[Any], Sequence[Any]], most: int = MOST_AT_ONCE
) -> list[Any]:
    """Run a model on packed pictures.

    Args:
        packed: See :func:`batches`.
        step: The model's ``test_step``.
        most: See there.

    Returns:
        A data sample per picture.
    """
    found: dict[int, Any] = {}
    for numbers, batch in batches(packed, most):
        found.update(zip(numbers, step(batch), strict=True))
    return [found[number] for number in range(len(packed))]
