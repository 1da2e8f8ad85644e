"""One picture that shows segments: coloured areas, an outline around every instance, names, and a legend by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from denseclip.visualization.blend import blend, draw_boundaries
from denseclip.visualization.legend import LegendEntry
from denseclip.visualization.overlay import make_legend, to_drawing_size, with_legend
from denseclip.visualization.tags import draw_tags

_TAGGED_SHARE = 0.004
_SHADES = (0.0, 0.35, -0.3, 0.55, -0.5, 0.2, -0.15)


def segments_picture(
    image: np.ndarray,
    ids: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    palette: np.ndarray,
    opacity: float = 0.5,
) -> Image.Image:
    """Show a panoptic map.

    Instances of one class have shades of its colour and are numbered; pixels of no segment stay as they are.

    Args:
        image: ``H x W x 3`` RGB, ``uint8``.
        ids: ``H x W`` integers: ``s + 1`` for segment ``s``, 0 for none.
        labels: class of each segment.
        names: class names in label order.
        palette: ``K x 3`` RGB.
        opacity: of the colours, 0..1.

    Returns:
        An RGB picture.

    Raises:
        ValueError: if sizes or numbers do not agree.
    """
    if image.shape[:2] != ids.shape or len(names) != len(palette) or (ids.size and ids.max() > len(labels)):
        raise ValueError(
            f'picture {image.shape[:2]} and segments {ids.shape} must agree in size, {len(names)} names and '
            f'{len(palette)} colours in number, and {len(labels)} segments with the ids up to {ids.max()}.'
        )
    pixels = np.bincount(ids.reshape(-1), minlength=len(labels) + 1)[1:]
    shares = pixels / max(1, ids.size)
    titles, colours = segment_titles(labels, names), segment_colours(labels, palette)
    image, places = to_drawing_size(image, np.where(ids > 0, ids - 1, len(labels)).astype(np.int32))
    long_side = max(places.shape)
    extent = min(long_side, 2 * min(places.shape))
    coloured = draw_boundaries(blend(image, places, colours, opacity), places, max(2, round(extent / 400)))
    canvas = Image.fromarray(coloured)
    order = [s for s in np.argsort(-shares, kind='stable').tolist() if shares[s] >= _TAGGED_SHARE]
    draw_tags(canvas, places, titles, colours, order, int(np.clip(extent / 55, 11, 56)))
    areas = np.bincount(np.asarray(labels, dtype=np.int64), weights=shares, minlength=len(names))
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(names))
    found = sorted(np.flatnonzero(counts).tolist(), key=lambda k: (-areas[k], k))
    entries = [
        LegendEntry(
            names[k] + (f' × {counts[k]}' if counts[k] > 1 else ''), tuple(int(c) for c in palette[k]), float(areas[k])
        )
        for k in found
    ]
    return with_legend(canvas, make_legend(entries, names, found, int(np.clip(long_side / 50, 14, 64))))


def segment_titles(labels: Sequence[int], names: Sequence[str]) -> list[str]:
    """Name of each segment; where a class has several, they are numbered from 1 in order."""
    labels = list(labels)
    seen: dict[int, int] = {}
    titles = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        titles.append(f'{names[label]} {seen[label]}' if labels.count(label) > 1 else names[label])
    return titles


def segment_colours(labels: Sequence[int], palette: np.ndarray) -> np.ndarray:
    """Colour of each segment: its class's, lighter or darker for further segments of the class.

    Args:
        labels: class of each segment.
        palette: ``K x 3`` RGB.

    Returns:
        ``S x 3`` RGB, ``uint8``.
    """
    seen: dict[int, int] = {}
    colours = np.zeros((len(labels), 3))
    for place, label in enumerate(labels):
        shade = _SHADES[seen.get(label, 0) % len(_SHADES)]
        seen[label] = seen.get(label, 0) + 1
        colour = palette[label].astype(np.float64)
        colours[place] = colour + (255 - colour) * shade if shade >= 0 else colour * (1 + shade)
    return colours.round().astype(np.uint8)
