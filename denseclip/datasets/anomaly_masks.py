"""Masks of defects as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.datasets.files import UnreadableFileError


def read_mask(path: str | Path, threshold: int = 0) -> np.ndarray:
    """Read a mask.

    Args:
        path: A grey, 1-bit, palette, 16-bit or colour picture; any channel but transparency counts.
        threshold: What is greater is defective. 0: anything that is not black.

    Returns:
        uint8, 1 where defective, shape (H, W).

    Raises:
        UnreadableFileError: If the file is missing or damaged.
    """
    return (read_mask_values(path) > threshold).astype(np.uint8)


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
