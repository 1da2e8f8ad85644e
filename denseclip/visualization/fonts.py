"""A readable font without a network and without system fonts."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.lru_cache(maxsize=32)
def load_font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans (Latin, Greek, Cyrillic, ...) as shipped inside matplotlib, else Pillow's own font.

    Args:
        size: height in pixels.
        bold: bold weight, where there is one.

    Returns:
        A font for ``ImageDraw``.
    """
    spec = find_spec('matplotlib')
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / 'mpl-data' / 'fonts' / 'ttf' / ('DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf')
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)
