"""Masks of defects as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.datasets.files import UnreadableFileError
from denseclip.files.pixels import open_safely

SOFT = 127
"""Threshold of masks with soft edges, or with the noise of JPEG."""
_FEW = 16  # values of a mask of ids
_EVEN = 4  # levels by which JPEG parts the channels of a grey
_EDGE = 9  # pixels of a soft edge, at least
_EDGES = 64  # soft edges of larger masks are up to this part of the shorter side
_STRAY = 0.001  # part of a mask's pixels that may be grey, and far from an edge


def read_mask(path: str | Path, threshold: int | None = 0) -> np.ndarray:
    """Read a mask.

    Args:
        path: A grey, 1-bit, palette, 16-bit or colour picture; any channel but transparency counts.
        threshold: What is greater is defective. 0: anything that is not black. None: see :func:`threshold_of`.

    Returns:
        uint8, 1 where defective, shape (H, W).

    Raises:
        UnreadableFileError: If the file is missing or damaged.
    """
    values = read_mask_values(path)
    return (values > (threshold_of(values) if threshold is None else threshold)).astype(np.uint8)


def threshold_of(values: np.ndarray) -> int:
    """127 for a mask of black and white with many greys between, as JPEG and soft edges make them; else 0."""
    many = values.dtype == np.uint8 and values.max(initial=0) > 200 and len(np.unique(values)) > _FEW
    return SOFT if many and mostly_extreme(values) else 0


def mostly_extreme(values: np.ndarray) -> bool:
    """Whether most of the pixels are nearly black or nearly white."""
    top = max(255, int(values.max(initial=0)))
    return bool(((values < 0.04 * top) | (values > 0.96 * top)).mean() > 0.8)


def looks_like_mask(path: str | Path) -> bool:
    """Whether a file holds a mask, not a photograph: a few colours; or black and white, and grey at their edges alone.

    A photograph of a part on white is mostly extreme, too, but the part is grey (or in colour) inside. What cannot be
    read is no mask.
    """
    try:
        pixels = _pixels(path)
    except UnreadableFileError:
        return False
    if not pixels.size:
        return False
    if _few_colours(pixels):
        return True
    if pixels.dtype != np.uint8 or (np.ptp(pixels, axis=2) > _EVEN).any():
        return False
    values = pixels[..., 0]
    if not mostly_extreme(values):
        return False
    grey = ((values >= 0.04 * 255) & (values <= 0.96 * 255)).astype(np.uint8)
    side = max(_EDGE, min(values.shape) // _EDGES) | 1
    return bool(cv2.erode(grey, np.ones((side, side), np.uint8)).mean() <= _STRAY)


def _few_colours(pixels: np.ndarray) -> bool:
    """Whether there are no more colours than a mask of ids has."""
    flat = pixels.reshape(-1, pixels.shape[2])
    if flat.shape[1] == 1:
        colours = flat[:, 0]
    else:
        colours = flat.astype(np.int64) @ (1 << 16 * np.arange(flat.shape[1]))
    step = 1 + colours.size // 10_000  # photographs show their many colours in a sample already
    return len(np.unique(colours[::step])) <= _FEW and len(np.unique(colours)) <= _FEW


def read_mask_values(path: str | Path) -> np.ndarray:
    """Numbers of a mask file, shape (H, W): palettes as their indices, colours as the greatest of their channels.

    Raises:
        UnreadableFileError: If the file is missing or damaged.
    """
    return _pixels(path).max(axis=2)


def _pixels(path: str | Path) -> np.ndarray:
    """Numbers of a picture file, shape (H, W, C), without transparency; 0 and 255 where it has one bit.

    Raises:
        UnreadableFileError: If the file is missing or damaged.
    """
    try:
        with open_safely(path) as picture:
            picture.load()
            values = np.asarray(picture)
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    values = values[..., None] if values.ndim == 2 else values
    values = values[..., : values.shape[2] - (values.shape[2] in (2, 4))]
    return values.astype(np.uint8) * 255 if values.dtype == bool else values
