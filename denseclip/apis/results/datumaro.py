"""Pictures and what was found in them as Datumaro's own JSON, version 1.0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from denseclip.apis.results.base import Region
from denseclip.apis.results.sheets import Sheet
from denseclip.structures.run_lengths import run_lengths


def datumaro_data(sheets: Iterable[Sheet], names: Sequence[str], paths: Mapping[str, str] | None = None) -> Any:
    """One subset: masks are run lengths, so that holes and separate parts stay; boxes are boxes.

    Args:
        sheets: The pictures of the subset.
        names: Of the classes, in the order of their labels.
        paths: Path of each picture below ``images/SUBSET``, by its file; by default the file.
    """
    labels = [{'name': name, 'parent': '', 'attributes': []} for name in names]
    return {
        'dm_format_version': '1.0',
        'media_type': 2,  # pictures
        'infos': {},
        'categories': {'label': {'labels': labels, 'label_groups': [], 'attributes': []}},
        'items': [_item(sheet, (paths or {}).get(sheet.file, sheet.file)) for sheet in sheets],
    }


def _item(sheet: Sheet, path: str) -> dict[str, Any]:
    return {
        'id': path.rpartition('.')[0] or path,
        'annotations': [_annotation(number, region) for number, region in enumerate(sheet.find(), start=1)],
        'image': {'path': path, 'size': list(sheet.size)},
    }


def _annotation(number: int, region: Region) -> dict[str, Any]:
    said: dict[str, Any] = {'occluded': False}
    said |= {} if region.score is None else {'score': round(region.score, 6)}
    common = {'id': number, 'attributes': said, 'group': number, 'label_id': region.label, 'z_order': 0}
    if region.mask is not None:
        return {**common, 'type': 'mask', 'rle': run_lengths(region.mask)}
    x1, y1, x2, y2 = region.box
    return {**common, 'type': 'bbox', 'bbox': [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]}
