"""Resizing with the rounding of OpenCV and PyTorch, on numpy alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Size = tuple[int, int]
"""Height and width."""
_ONE = 2048
"""OpenCV's weights of 8-bit pictures are whole numbers of this part."""


def resize_pixels(pixels: np.ndarray, size: Size) -> np.ndarray:
    """A picture at another size, bilinearly, as ``cv2.resize`` makes it.

    Args:
        pixels: ``uint8``.
        size: Height and width.

    Returns:
        ``uint8``; the same array where it has the size.

    Shape:
        - pixels: :math:`(h, w, C)`; result: :math:`(H, W, C)`
    """
    if pixels.shape[:2] == size:
        return pixels
    if pixels.shape[:2] == (2 * size[0], 2 * size[1]):  # OpenCV averages four pixels then
        return _halved(pixels)
    (top, below), (up, down) = _whole_weights(pixels.shape[0], size[0], border=True)
    (left, right), (near, far) = _whole_weights(pixels.shape[1], size[1])
    wide = pixels.astype(np.int32)
    rows = wide[:, left] * near[:, None] + wide[:, right] * far[:, None]  # of the picture's own height
    rows >>= 4
    upper = (rows[top] * up[:, None, None]) >> 16
    lower = (rows[below] * down[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def shrink_pixels(pixels: np.ndarray, size: Size) -> np.ndarray:
    """A picture at a smaller size; every pixel is the mean of the area that it covers.

    Args:
        pixels: ``uint8``.
        size: Height and width, no more than the picture's.

    Shape:
        - pixels: :math:`(h, w, C)`; result: :math:`(H, W, C)`
    """
    if pixels.shape[:2] == (2 * size[0], 2 * size[1]):
        return _halved(pixels)
    down, across = _area_matrix(pixels.shape[0], size[0]), _area_matrix(pixels.shape[1], size[1])
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    means = down @ planes @ across.T
    return np.rint(means).astype(np.uint8).transpose(1, 2, 0)


@lru_cache(maxsize=16)
def bilinear_matrix(length: int, out: int) -> np.ndarray:
    """Bilinear resizing along one axis (``align_corners=False``) as a matrix whose rows add up to one.

    Shape:
        - result: ``(out, length)``, float64
    """
    place = np.maximum((np.arange(out) + 0.5) * (length / out) - 0.5, 0)
    low = np.minimum(place.astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = place - low
    matrix = np.zeros((out, length))
    np.add.at(matrix, (np.arange(out), low), 1 - share)
    np.add.at(matrix, (np.arange(out), high), share)
    return matrix


def _halved(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    four = pixels.reshape(height, 2, width, 2, -1).astype(np.uint16).sum(axis=(1, 3))
    return ((four + 2) >> 2).astype(np.uint8)


def _whole_weights(
    length: int, out: int, border: bool = False
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The two sources of every pixel along an axis, and their weights in parts of :data:`_ONE`.

    Args:
        length: Of the axis.
        out: Its length afterwards.
        border: Whether pixels beyond the first and the last one share their weights between two copies of it, each
            rounded by itself: OpenCV does that for rows and not for columns.
    """
    place = ((np.arange(out) + 0.5) * (1 / (out / length)) - 0.5).astype(np.float32)  # OpenCV's order
    low = np.floor(place).astype(np.int64)
    share = place - low.astype(np.float32)
    if not border:
        share[(low < 0) | (low >= length - 1)] = 0
    far = np.rint(share * np.float32(_ONE)).astype(np.int32)
    near = np.rint((np.float32(1) - share) * np.float32(_ONE)).astype(np.int32)
    return (np.clip(low, 0, length - 1), np.clip(low + 1, 0, length - 1)), (near, far)


def _area_matrix(length: int, out: int) -> np.ndarray:
    """Mean over the covered area along one axis, (out, length), float32."""
    step = length / out
    start, stop = np.arange(out)[:, None] * step, (np.arange(out)[:, None] + 1) * step
    cells = np.arange(length)[None]
    covered = np.clip(np.minimum(stop, cells + 1) - np.maximum(start, cells), 0, None)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
