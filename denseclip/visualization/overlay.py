"""One picture that shows a segmentation: the photograph with coloured areas and names, and a legend outside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from denseclip.visualization.blend import blend, draw_boundaries
from denseclip.visualization.legend import Legend, LegendEntry
from denseclip.visualization.raster import nearest
from denseclip.visualization.tags import draw_tags

MAX_SIDE = 4096
"""Larger photographs are drawn at this size; label maps keep theirs."""
_MIN_SIDE = 360
_MAX_ENTRIES = 40
_TAGGED_SHARE = 0.01
_PAPER = (255, 255, 255)


def overlay_picture(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: np.ndarray,
    opacity: float = 0.5,
    background: int | None = None,
    tags: bool = True,
    doubtful: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> Image.Image:
    """Show a segmentation.

    Small photographs are enlarged with visible pixels, those above :data:`MAX_SIDE` are scaled down.

    Args:
        image: ``H x W x 3`` RGB, ``uint8``.
        labels: ``H x W`` integers.
        names: class names in label order.
        palette: ``K x 3`` RGB.
        opacity: of the class colours, 0..1.
        background: label of the background, which is shown paler and last in the legend.
        tags: whether to write names into the areas.
        doubtful: names of classes that the picture shows no more than any other word: marked in areas and legend.
        left_out: names of classes that were not to be shown; the legend's note names them apart.

    Returns:
        An RGB picture.

    Raises:
        ValueError: if sizes or numbers of classes do not agree.
    """
    if image.shape[:2] != labels.shape or len(names) != len(palette):
        raise ValueError(
            f'picture {image.shape[:2]} and labels {labels.shape} must agree in size, {len(names)} names and '
            f'{len(palette)} colours in number.'
        )
    shares = np.bincount(labels.reshape(-1), minlength=len(names))[: len(names)] / labels.size
    order = sorted(np.flatnonzero(shares).tolist(), key=lambda k: (k == background, -shares[k], k))
    image, labels = to_drawing_size(image, labels)
    long_side = max(labels.shape)
    font_size = int(np.clip(long_side / 50, 14, 64))
    # Lines and names inside the picture follow its short side when it is a strip.
    extent = min(long_side, 2 * min(labels.shape))
    colored = blend(image, labels, palette, opacity, fade=background)
    canvas = Image.fromarray(draw_boundaries(colored, labels, max(1, round(extent / 700))))
    if tags:
        named = [k for k in order if shares[k] >= _TAGGED_SHARE and k != background]
        titles = [f'{name} ?' if name in doubtful else name for name in names]
        draw_tags(canvas, labels, titles, palette, named, int(np.clip(extent / 50, 12, 64)))
    entries = [
        LegendEntry(names[k], tuple(int(c) for c in palette[k]), float(shares[k]), names[k] in doubtful) for k in order
    ]
    return with_legend(canvas, make_legend(entries, names, order, font_size, left_out))


def to_drawing_size(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge small pictures with visible pixels, and shrink those above :data:`MAX_SIDE`; the labels with them."""
    height, width = labels.shape
    long_side = max(height, width)
    if _MIN_SIDE <= long_side <= MAX_SIDE:
        return image, labels
    scale: float = -(-_MIN_SIDE // long_side) if long_side < _MIN_SIDE else MAX_SIDE / long_side
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if scale > 1:
        return nearest(image, size), nearest(labels, size)
    shrunk = Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(shrunk), nearest(labels, size)


def make_legend(
    entries: list[LegendEntry],
    names: Sequence[str],
    order: Sequence[int],
    font_size: int,
    left_out: Sequence[str] = (),
) -> Legend:
    """The largest classes, and in words what is not shown."""
    absent = [name for k, name in enumerate(names) if k not in set(order)]
    notes = []
    if any(entry.doubtful for entry in entries):
        notes.append('?: no better than chance')
    if len(entries) > _MAX_ENTRIES:
        notes.append(f'and {len(entries) - _MAX_ENTRIES} smaller classes')
    notes += _listed('not found', [name for name in absent if name not in left_out])
    notes += _listed('left out', [name for name in absent if name in left_out])
    return Legend(entries[:_MAX_ENTRIES], '; '.join(notes), font_size)


def _listed(title: str, names: list[str]) -> list[str]:
    more = f' and {len(names) - 12} more' if len(names) > 12 else ''
    return [f'{title}: {", ".join(names[:12])}{more}'] if names else []


def with_legend(picture: Image.Image, legend: Legend) -> Image.Image:
    """Put the legend to the right where it is not taller than the picture, else below in columns."""
    margin, gap = round(1.5 * legend.font_size), round(1.8 * legend.font_size)
    width, height = legend.size(1)
    if height <= picture.height and picture.width <= 2.5 * picture.height:
        canvas = Image.new('RGB', (picture.width + gap + width + margin, picture.height), _PAPER)
        canvas.paste(picture, (0, 0))
        legend.draw(canvas, picture.width + gap, (picture.height - height) // 2, 1, width)
        return canvas
    columns = 1
    while columns < len(legend.entries) and legend.size(columns + 1)[0] + 2 * margin <= picture.width:
        columns += 1
    full_width = max(picture.width, legend.size(columns)[0] + 2 * margin)
    height = legend.size(columns, full_width - 2 * margin)[1]
    canvas = Image.new('RGB', (full_width, picture.height + gap + height + margin), _PAPER)
    canvas.paste(picture, ((full_width - picture.width) // 2, 0))
    legend.draw(canvas, margin, picture.height + gap, columns, full_width - 2 * margin)
    return canvas
