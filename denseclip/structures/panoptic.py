"""Panoptic maps: COCO's coding of segment ids as colours."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

VOID = 0
"""Id of pixels of no segment."""
MAX_ID = 256**3 - 1
"""Largest id that a colour can hold."""


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids as colours: ``id = R + 256 G + 256**2 B``, COCO's panoptic format.

    Args:
        ids: Integers from 0 to :data:`MAX_ID`.

    Returns:
        uint8.

    Raises:
        ValueError: If an id is out of range.

    Shape:
        ids ``(H, W)``; result ``(H, W, 3)``, RGB
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f'segment ids must be within 0..{MAX_ID}, got {ids.min()}..{ids.max()}.')
    wide = ids.astype(np.uint32)
    return np.stack([wide & 255, (wide >> 8) & 255, wide >> 16], axis=-1).astype(np.uint8)


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """The inverse of :func:`ids_to_rgb`.

    Args:
        rgb: uint8.

    Returns:
        int64.

    Shape:
        rgb ``(H, W, 3)``; result ``(H, W)``
    """
    # Red is the lowest byte of a number: with a fourth one, empty, the colours are the numbers.
    four = np.zeros((*rgb.shape[:-1], 4), dtype=np.uint8)
    four[..., :3] = rgb
    return four.view('<u4')[..., 0].astype(np.int64)


def ids_of_picture(image: Image.Image, listed: Iterable[int] = ()) -> np.ndarray:
    """Segment ids of an open panoptic map: colours in COCO's coding, or the numbers of a grey file.

    Args:
        image: The map.
        listed: Ids that its annotation names. A palette holds either numbers or colours; what fits these is taken.

    Returns:
        int64 (H, W).

    Raises:
        ValueError: If it is neither.
    """
    if image.mode in ('RGB', 'RGBA'):
        # As Pillow keeps it, four bytes a pixel: red, the lowest byte of a number, first, and alpha or nothing last.
        packed = image.tobytes('raw', 'RGBX' if image.mode == 'RGB' else 'RGBA')
        return (np.frombuffer(packed, '<u4') & MAX_ID).astype(np.int64).reshape(image.height, image.width)
    numbers = np.asarray(image)
    if numbers.ndim != 2 or not (np.issubdtype(numbers.dtype, np.integer) or numbers.dtype == bool):
        raise ValueError(f'a panoptic map needs the colours R, G and B, or grey ids; this is {image.mode}')
    if image.mode == 'P':
        coloured = rgb_to_ids(np.asarray(image.convert('RGB')))
        known = np.array(sorted(listed), dtype=np.int64)
        if np.isin(coloured, known).sum() > np.isin(numbers, known).sum():
            return coloured
    return numbers.astype(np.int64)
