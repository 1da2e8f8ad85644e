"""Boxes, masks and names of found objects over a photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from denseclip.visualization.blend import blend, draw_boundaries
from denseclip.visualization.fonts import load_font
from denseclip.visualization.shapes import fill_rounded, text_width

_DARK, _LIGHT = (17, 21, 28), (255, 255, 255)


def boxes_picture(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    palette: np.ndarray,
    masks: np.ndarray | None = None,
    opacity: float = 0.45,
) -> Image.Image:
    """Draw found objects, the surest on top.

    Args:
        image: ``H x W x 3`` RGB, ``uint8``.
        boxes: ``n x 4`` corners ``x1, y1, x2, y2`` in pixels.
        labels: class of each object, n integers.
        scores: confidence of each object, n numbers in 0..1.
        names: class names in label order.
        palette: ``K x 3`` RGB.
        masks: ``n x H x W`` bool, where known.
        opacity: of the masks, 0..1.

    Returns:
        RGB picture of the same size.
    """
    order = np.argsort(scores, kind='stable')
    rgb = np.ascontiguousarray(image)
    height, width = rgb.shape[:2]
    font_size = int(np.clip(min(height, width) / 28, 11, 40))
    line = max(2, round(font_size / 7))
    if masks is not None and len(order):
        owner = np.full((height, width), len(order), dtype=np.int32)
        for place in order:
            owner[masks[place]] = place
        rgb = draw_boundaries(blend(rgb, owner, palette[labels], opacity), owner, max(1, line // 2))
    canvas = Image.fromarray(rgb)
    for place in order:
        color = tuple(int(c) for c in palette[labels[place]])
        _draw_box(canvas, boxes[place], f'{names[labels[place]]} {scores[place]:.2f}', color, font_size, line)
    return canvas


def _draw_box(
    canvas: Image.Image, box: np.ndarray, text: str, color: tuple[int, ...], font_size: int, line: int
) -> None:
    """A frame, and its name above it, or inside it where there is no room above."""
    left, top, right, bottom = (round(float(v)) for v in box)
    right, bottom = max(right, left), max(bottom, top)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, right, bottom), outline=color, width=line)
    font = load_font(font_size, bold=True)
    tag_height = round(1.4 * font_size)
    tag_width = text_width(font, text) + font_size
    x = max(0, min(left, canvas.width - tag_width))
    y = top - tag_height if top >= tag_height else min(top, max(0, canvas.height - tag_height))
    fill_rounded(canvas, (x, y, x + tag_width, y + tag_height), font_size // 4, color)
    light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 140
    ink = _LIGHT if light else _DARK
    ImageDraw.Draw(canvas).text((x + font_size // 2, y + tag_height // 2), text, font=font, fill=ink, anchor='lm')
