"""Masks of defects as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.datasets.files import UnreadableFileError

SOFT = 127
"""Threshold of masks with soft edges, or with the noise of JPEG."""
_FEW = 16  # values of a mask of ids


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


def read_mask_values(path: str | Path) -> np.ndarray:
    """Numbers of a mask file, shape (H, W): palettes as their indices, colours as the greatest of their channels.

    Raises:
        UnreadableFileError: If the file is missing or damaged.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            values = np.asarray(picture)
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    if values.ndim == 3:
        opaque = values.shape[2] - (values.shape[2] in (2, 4))
        values = values[..., :opaque].max(axis=2)
    return values.astype(np.uint8) * 255 if values.dtype == bool else values
