"""What one object of an annotation file in COCO's format says: its box, its mask, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from denseclip.structures.run_lengths import as_text, coco_masks

BEYOND = 1.0
"""Pixels that a box may stick out of its picture: rounding of annotation tools."""


LARGEST_SIDE = 2**20
"""Pixels that no side of a picture reaches; a mask of that extent would take all memory."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, of 64 bits if it is whole; a truth value is none."""
    if isinstance(value, bool):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)


def is_side(value: Any) -> bool:
    """Whether a value can be the width or height of a picture."""
    return is_number(value) and 1 <= value < LARGEST_SIDE


def box_fault(box: Any, width: Any, height: Any) -> str | None:
    """What is wrong with ``x, y, width, height``, in words.

    Args:
        box: The object's ``bbox``.
        width: Of its picture, as the file says.
        height: See there.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f'its box {box!r} is not four numbers x, y, width, height'
    x, y, w, h = box
    if max(box) <= 1:
        return f'its box {box} looks like shares of the picture; boxes are x, y, width, height in pixels'
    if w < 1 or h < 1:
        return f'its box {box} is thinner than a pixel; training leaves it out'
    if not (is_side(width) and is_side(height)):
        return None  # the picture's own line says so already
    if x < -BEYOND or y < -BEYOND or x + w > width + BEYOND or y + h > height + BEYOND:
        return f'its box {box} reaches beyond the picture ({width} x {height}); are these corners, or another size?'
    return None


def plain_polygons(segmentation: Any) -> Any:
    """Polygons as COCO writes them, each a flat list of coordinates in a list of polygons.

    Args:
        segmentation: An object's ``segmentation``: such a list already, one flat polygon, or polygons of points.

    Returns:
        The list of polygons; what is no list of numbers, such as a run-length code, as it came.
    """
    if not isinstance(segmentation, list) or not segmentation:
        return segmentation
    if all(map(is_number, segmentation)):
        return [segmentation]
    if all(isinstance(part, list) and len(part) == 2 and all(map(is_number, part)) for part in segmentation):
        return [[value for point in segmentation for value in point]]
    return [
        [value for point in part for value in point]
        if isinstance(part, list) and part and all(isinstance(point, list) and len(point) == 2 for point in part)
        else part
        for part in segmentation
    ]


def polygon_fault(polygon: Any) -> str | None:
    """What is wrong with one polygon ``x1, y1, x2, y2, ...``, in words."""
    if not isinstance(polygon, list) or not all(map(is_number, polygon)):
        return 'is no list of numbers'
    if len(polygon) % 2:
        return f'has {len(polygon)} coordinates, an odd number'
    if len(polygon) < 6:
        return f'has {len(polygon) // 2} points; it takes three to span an area'
    if max(map(abs, polygon)) >= LARGEST_SIDE:
        return f'has the coordinate {max(polygon, key=abs):g}, which is in no picture'
    return None


def run_lengths(code: Mapping[str, Any]) -> list[int] | None:
    """Lengths of the runs of a run-length code, background first.

    Args:
        code: ``size`` and ``counts``, a list or COCO's compressed text.

    Returns:
        The lengths; None if the text or list is none.
    """
    counts = code.get('counts')
    if isinstance(counts, bytes):
        counts = counts.decode('latin-1')
    if isinstance(counts, str):
        return _uncompressed(counts)
    if isinstance(counts, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in counts):
        return counts
    return None


def _uncompressed(text: str) -> list[int] | None:
    """Five bits a character, least first; from the third run on the difference to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return None
        value = shift = 0
    return None if shift else runs


def mask_fault(segmentation: Any, width: Any, height: Any) -> str | None:
    """What keeps a mask from being trained and scored, in words.

    Args:
        segmentation: The object's ``segmentation``.
        width: Of its picture, as the file says.
        height: See there.
    """
    if not segmentation or segmentation == [[]]:
        return 'it has no mask'
    if isinstance(segmentation, Mapping):
        return _code_fault(segmentation, width, height)
    if not isinstance(segmentation, list):
        return f'its mask is of the kind {type(segmentation).__name__}, neither polygons nor a run-length code'
    if plain_polygons(segmentation) != segmentation:
        return 'its polygons are not a list of flat lists of coordinates, [[x1, y1, x2, y2, ...]]'
    found = next(filter(None, map(polygon_fault, segmentation)), None)
    if found:
        return f'a polygon of its mask {found}'
    if not (is_side(width) and is_side(height)):
        return None  # the picture's own line says so already
    if any(_is_far(polygon[0::2], width) or _is_far(polygon[1::2], height) for polygon in segmentation):
        return f'a polygon of its mask reaches far beyond the picture ({width} x {height})'
    return None if mask_area(segmentation, int(width), int(height)) else 'its mask covers no pixel'


def _is_far(places: Sequence[float], side: float) -> bool:
    """Whether a place lies outside of a picture by more than a side of it."""
    return min(places) < -side or max(places) > 2 * side


def _code_fault(code: Mapping[str, Any], width: Any, height: Any) -> str | None:
    runs, size = run_lengths(code), code.get('size')
    if runs is None or not isinstance(size, list) or len(size) != 2 or not all(map(is_side, size)):
        return 'its run-length code cannot be read: it needs "size" and "counts"'
    if size[0] * size[1] != sum(runs):
        return f'its run-length code speaks of {sum(runs)} pixels, its size {size} of {size[0] * size[1]}'
    if is_side(width) and is_side(height) and size != [height, width]:
        return f'its run-length code is of the size {size} (h, w), its picture {[height, width]}'
    return None if sum(runs[1::2]) else 'its mask covers no pixel'


def mask_area(segmentation: Any, width: int, height: int) -> int:
    """Pixels of a mask.

    Args:
        segmentation: Sound polygons, or a run-length code.
        width: Of the picture.
        height: Of the picture.
    """
    if isinstance(segmentation, Mapping):
        return sum((run_lengths(segmentation) or [])[1::2])
    rle = coco_masks()
    return int(rle.area(rle.merge(rle.frPyObjects(segmentation, height, width))))


def encode_mask(segmentation: Any, width: int, height: int) -> dict[str, Any]:
    """The compressed run-length code of a mask, as pycocotools makes it, with text for its counts.

    Args:
        segmentation: Sound polygons, or a run-length code.
        width: Of the picture.
        height: Of the picture.
    """
    rle = coco_masks()
    if isinstance(segmentation, Mapping) and not isinstance(segmentation['counts'], list):
        code = segmentation
    elif isinstance(segmentation, Mapping):
        code = rle.frPyObjects(dict(segmentation), height, width)
    else:
        code = rle.merge(rle.frPyObjects(segmentation, height, width))
    return as_text(code)


def mask_box(segmentation: Any) -> list[float] | None:
    """``x, y, width, height`` around a mask; None where it says nothing.

    Args:
        segmentation: Polygons or a run-length code.
    """
    if isinstance(segmentation, Mapping):
        return _box_of_runs(run_lengths(segmentation) or [], segmentation.get('size'))
    if not isinstance(segmentation, list) or any(map(polygon_fault, segmentation)):
        return None
    values = [value for polygon in segmentation for value in polygon]
    if not values:
        return None
    left, top = min(values[0::2]), min(values[1::2])
    return [left, top, max(values[0::2]) - left, max(values[1::2]) - top]


def _box_of_runs(runs: Sequence[int], size: Any) -> list[float] | None:
    """Runs go down the columns, one after the other."""
    if not isinstance(size, list) or len(size) != 2 or not all(map(is_side, size)) or not sum(runs[1::2]):
        return None
    height, start = int(size[0]), 0
    columns: list[int] = []
    rows: list[int] = []
    for place, run in enumerate(runs):
        end = start + run
        if place % 2 and run:
            first, last = start // height, (end - 1) // height
            columns += [first, last]
            rows += [start % height, (end - 1) % height] if first == last else [0, height - 1]
        start = end
    return [min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1]
