"""Shapes of annotation tools as boxes and masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denseclip.datasets.coco_objects import encode_mask, mask_fault
from denseclip.datasets.own_data.pictures import Box, FoundObject
from denseclip.structures.run_lengths import pixels, run_lengths

_CORNERS = 64  # of the polygon that stands for a circle or an ellipse


@dataclass(frozen=True)
class Shape:
    """One shape that somebody drew.

    Attributes:
        name: Of its class.
        polygon: ``x1, y1, x2, y2, ...``, or none where ``pixels`` are given.
        pixels: Left and top, and a boolean array (H, W) of the part of the picture from there.
        group: Shapes of one name and one group are one object; None for a shape alone.
        plain: Whether it is a plain box and no mask.
        crowd: Whether training and scores leave it out.
    """

    name: str
    polygon: tuple[float, ...] = ()
    pixels: tuple[int, int, np.ndarray] | None = None
    group: Any = None
    plain: bool = False
    crowd: bool = False

    @property
    def box(self) -> Box:
        """``x, y, width, height``."""
        if self.pixels is not None:
            left, top, part = self.pixels
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            if not len(rows):
                return (left, top, 0, 0)
            size = (int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)
            return (left + int(columns[0]), top + int(rows[0]), *size)
        xs, ys = self.polygon[0::2], self.polygon[1::2]
        return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def ellipse(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    """A polygon for an ellipse.

    Args:
        x: Of its centre.
        y: Of its centre.
        width: Half of its extent.
        height: Half of its extent.
    """
    angles = [2 * math.pi * k / _CORNERS for k in range(_CORNERS)]
    return tuple(v for a in angles for v in (x + width * math.cos(a), y + height * math.sin(a)))


def rotated_box(left: float, top: float, right: float, bottom: float, degrees: float = 0.0) -> tuple[float, ...]:
    """Corners of a box turned about its centre.

    Args:
        left: Of the box before turning.
        top: See there.
        right: See there.
        bottom: See there.
        degrees: Clockwise, as pictures have it.
    """
    if not degrees:
        return (left, top, right, top, right, bottom, left, bottom)
    x, y, sine, cosine = (
        (left + right) / 2,
        (top + bottom) / 2,
        math.sin(math.radians(degrees)),
        math.cos(math.radians(degrees)),
    )
    corners = [(left - x, top - y), (right - x, top - y), (right - x, bottom - y), (left - x, bottom - y)]
    return tuple(v for dx, dy in corners for v in (x + dx * cosine - dy * sine, y + dx * sine + dy * cosine))


def of_code(code: dict[str, Any]) -> tuple[int, int, np.ndarray]:
    """Pixels of a sound run-length code, in the form of :attr:`Shape.pixels`.

    Args:
        code: ``size`` and ``counts``, a list or COCO's compressed text.
    """
    height, width = code['size']
    return 0, 0, pixels(encode_mask(code, width, height))


def as_objects(shapes: Iterable[Shape], size: tuple[int, int]) -> tuple[FoundObject, ...]:
    """Objects of a picture; shapes of one name in one group become one.

    Args:
        shapes: As drawn.
        size: Height and width of the picture.

    Raises:
        ValueError: A polygon cannot be joined with pixels.
    """
    groups: dict[Any, list[Shape]] = {}
    for place, shape in enumerate(shapes):
        key = place if shape.group is None else (shape.name, str(shape.group))
        groups.setdefault(key, []).append(shape)
    return tuple(_as_object(parts, size) for parts in groups.values())


def _as_object(parts: Sequence[Shape], size: tuple[int, int]) -> FoundObject:
    boxes = [part.box for part in parts]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    box = (left, top, right - left, bottom - top)
    mask: Any = None
    if any(part.pixels is not None for part in parts):
        mask = _encode(parts, size)
    elif not all(part.plain for part in parts):
        mask = [list(part.polygon) for part in parts]
    return FoundObject(parts[0].name, box, mask, any(part.crowd for part in parts))


def _encode(parts: Sequence[Shape], size: tuple[int, int]) -> dict[str, Any]:
    """The run-length code of pixels and polygons together."""
    whole = np.zeros(size, bool)
    for part in parts:
        if part.pixels is None:
            fault = mask_fault([list(part.polygon)], size[1], size[0])
            if fault:
                raise ValueError(f'{part.name}: {fault}')
            whole |= pixels(encode_mask([list(part.polygon)], size[1], size[0]))
            continue
        left, top, drawn = part.pixels
        inside = drawn[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
        top, left = max(top, 0), max(left, 0)
        whole[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside.astype(bool)
    return run_lengths(whole)
