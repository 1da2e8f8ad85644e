"""Class names written into the largest area of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from denseclip.visualization.fonts import Font, load_font
from denseclip.visualization.raster import depth, largest_area, nearest
from denseclip.visualization.shapes import fill_rounded, text_width

_WORK_SIZE = 240
"""Long side of the labels in which room is looked for; at 480 that takes half of the time of a result."""
_INK = (17, 21, 28)
_SAME = 1e-3  # pixels


def widest_spot(mask: np.ndarray) -> tuple[int, int, float]:
    """Centre of the largest circle that fits into the largest connected area of a mask.

    Args:
        mask: ``H x W`` bool.

    Returns:
        x, y and radius in pixels; radius 0 for an empty mask.
    """
    area = largest_area(mask)
    if not area.any():
        return 0, 0, 0.0
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    room = depth(area[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])
    # The first of the deepest places: which one rounding prefers depends on who measured.
    y, x = np.unravel_index(int((room >= room.max() - _SAME).argmax()), room.shape)
    return left + int(x), top + int(y), float(room[y, x])


def draw_tags(
    canvas: Image.Image,
    labels: np.ndarray,
    names: Sequence[str],
    palette: np.ndarray,
    order: Sequence[int],
    font_size: int,
) -> None:
    """Write the name of each class into its largest area, where it has room.

    Args:
        canvas: RGB picture of the labels' size, changed in place.
        labels: ``H x W`` integers.
        names: class names in label order.
        palette: ``K x 3`` RGB.
        order: classes to name, most important first; a later one that would cover an earlier one is left out.
        font_size: in pixels.
    """
    font = load_font(font_size, bold=True)
    height, width = labels.shape
    scale = min(1.0, _WORK_SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = nearest(labels, size[::-1])
    taken: list[tuple[int, int, int, int]] = []
    needed = 0.8 * font_size * scale
    for label in order:
        mask = small == label
        if np.count_nonzero(mask) < 2 * needed**2:  # a circle of that radius covers more
            continue
        x, y, radius = widest_spot(mask)
        place = (x + 0.5) / size[0] * width, (y + 0.5) / size[1] * height
        box = _tag_box(names[label], font, font_size, *place, (width, height))
        fits = box[2] <= width and box[3] <= height
        if radius < needed or not fits or any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        _draw_tag(canvas, box, names[label], font, font_size, tuple(int(c) for c in palette[label]))


def _tag_box(
    name: str, font: Font, font_size: int, x: float, y: float, limit: tuple[int, int]
) -> tuple[int, int, int, int]:
    width = text_width(font, name) + round(2.1 * font_size)
    height = round(1.75 * font_size)
    left, top = round(x - width / 2), round(y - height / 2)
    # A name beside the border moves inwards, where it is whole.
    margin = font_size // 3
    left = max(margin, min(left, limit[0] - width - margin))
    top = max(margin, min(top, limit[1] - height - margin))
    return left, top, left + width, top + height


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_tag(
    canvas: Image.Image, box: tuple[int, int, int, int], name: str, font: Font, font_size: int, color: tuple[int, ...]
) -> None:
    left, top, _, bottom = box
    fill_rounded(canvas, box, (bottom - top) // 2, _INK, opacity=0.78)
    dot = round(0.62 * font_size)
    middle = (top + bottom) // 2
    start = left + round(0.6 * font_size)
    fill_rounded(canvas, (start, middle - dot // 2, start + dot, middle - dot // 2 + dot), dot, color)
    position = (start + dot + round(0.4 * font_size), middle)
    ImageDraw.Draw(canvas).text(position, name, font=font, fill=(255, 255, 255), anchor='lm')
