"""Label maps as PNG files that say themselves what their numbers mean."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from denseclip.files.pixels import open_safely

NAMES_KEY = 'denseclip:classes'
"""Text chunk that holds the class names as a JSON list, in label order."""


def encode_label_png(label_map: np.ndarray, names: Sequence[str], palette: np.ndarray) -> bytes:
    """Encode a label map.

    Up to 256 classes the file is an 8-bit palette PNG: any viewer shows the classes' colours, any reader gets the
    labels. Beyond, it is a 16-bit grey PNG of the labels.

    Args:
        label_map: ``H x W`` integers in ``0 .. len(names) - 1``; 255 stays 255 ("ignored") in the 8-bit case.
        names: class names in label order.
        palette: RGB colour of every class.

    Returns:
        The file's content.

    Raises:
        ValueError: if there are more than 65,536 classes, or a label is out of range.
    """
    if len(names) > 65536:
        raise ValueError(f'a label PNG holds at most 65,536 classes, got {len(names)}.')
    eight_bit = len(names) <= 256
    high = int(label_map.max()) if label_map.size else 0
    if label_map.min() < 0 or (high >= len(names) and not (eight_bit and high == 255)):
        raise ValueError(f'labels {label_map.min()}..{high} do not fit {len(names)} classes.')
    if eight_bit:
        picture = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8)).convert('L')
        colors = np.zeros((256, 3), dtype=np.uint8)
        colors[: len(names)] = palette
        # All 256 entries: with fewer, Pillow writes labels in as many bits as the palette needs and cuts off 255.
        picture.putpalette(colors.tobytes())
    else:
        picture = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint16))
    info = PngInfo()
    info.add_itxt(NAMES_KEY, json.dumps(list(names), ensure_ascii=False))
    info.add_itxt('Software', 'DenseCLIP Suite')
    content = io.BytesIO()
    picture.save(content, 'PNG', pnginfo=info, compress_level=6)
    return content.getvalue()


def read_label_png(path: str | Path) -> tuple[np.ndarray, list[str]]:
    """Read a file of :func:`encode_label_png`.

    Args:
        path: the PNG file.

    Returns:
        Labels (``uint8`` or ``uint16``) and class names, empty when the file holds none.
    """
    with open_safely(path) as picture:
        picture.load()
        names = json.loads(getattr(picture, 'text', {}).get(NAMES_KEY, '[]'))
        labels = np.asarray(picture)
    return labels.astype(np.uint8 if picture.mode in ('P', 'L') else np.uint16), names
