"""Boxes and masks in Datumaro's own JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from denseclip.datasets.coco_objects import LARGEST_SIDE, mask_fault
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.gather import Gathering, beginning, found_picture, locate, read_json, said_size
from denseclip.datasets.own_data.pictures import FoundPicture
from denseclip.datasets.own_data.shapes import Shape, ellipse, of_code, rotated_box
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import globbed

_SIGN = re.compile(r'"dm_format_version"|"categories"\s*:\s*\{')


def datumaro_files(folder: Path) -> list[Path]:
    """Datumaro's files of a data set; none if it is another layout.

    Args:
        folder: ``annotations/SUBSET.json``, and the pictures in ``images/SUBSET/``.
    """
    return [path for path in globbed(folder, 'annotations/*.json') if _SIGN.search(beginning(path))]


def from_datumaro(folder: Path, paths: Iterable[Path], conversion: Conversion) -> BoxData:
    """A data set of Datumaro's JSON, made COCO's in ``conversion.target``.

    Annotations of one class in one group are one object, and a box beside masks in a group says nothing more; what has
    the attribute ``is_crowd`` is a crowd.

    Args:
        folder: The data set.
        paths: Its files, see :func:`datumaro_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged or pictures are missing.
    """
    gathered = Gathering(folder)
    labels: dict[str, None] = {}
    for path in paths:
        content = read_json(path)
        names = _names(path, content)
        labels |= dict.fromkeys(names)
        for place, item in enumerate(content['items']):
            read = partial(_picture, folder, path, place, item, names, gathered.left_out)
            gathered.add(split_of(path.stem), read)
    return gathered.box_data(conversion, list(labels))


def _names(path: Path, content: Any) -> list[str]:
    """Names of the classes of a subset.

    Raises:
        ConversionError: It is none of Datumaro's, or has no names.
    """
    try:
        items, entries = content['items'], content['categories']['label']['labels']
        names = [entry['name'] for entry in entries]
    except (KeyError, TypeError) as error:
        raise ConversionError(f'{path}: is no file of Datumaro with labels, it lacks {error}') from error
    if not isinstance(items, list) or not all(isinstance(name, str) and name for name in names):
        raise ConversionError(f'{path}: "items" is no list, or a label has no name')
    return names


def _picture(
    folder: Path, source: Path, place: int, item: Any, names: Sequence[str], left_out: Counter[str]
) -> FoundPicture:
    subset = source.stem
    try:
        given = str(item['image'].get('path') or f'{item["id"]}.jpg')
        size = item['image'].get('size') or (None, None)
        annotations = item['annotations']
        said = said_size(*size)
        listed = [(entry, str(entry['type'])) for entry in annotations]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConversionError(f'{source}: item {place} is no picture with annotations ({error})') from error
    images = folder / 'images'
    found = locate(source, given, (images / subset, images, folder / subset, folder))
    shapes = []
    for number, (entry, kind) in enumerate(listed):
        read = _READERS.get(kind)
        label = entry.get('label_id')
        if read is None or label is None:
            left_out[kind if label is not None or read is None else f'{kind} without a label'] += 1
            continue
        try:
            shapes.append(read(entry, names[label] if 0 <= label < len(names) else _no_label(label)))
        except (KeyError, TypeError, ValueError) as error:
            raise ConversionError(
                f'{source}: {given}: annotation {number} ({kind}) cannot be read ({error})'
            ) from error
    return found_picture(found, source, said, _one_form(shapes), whole=True)


def _no_label(label: Any) -> str:
    raise ValueError(f'there is no label {label!r:.20}')


def _one_form(shapes: Sequence[Shape]) -> list[Shape]:
    """Without boxes that say again where the masks of their group are."""
    masked = {(shape.name, shape.group) for shape in shapes if not shape.plain and shape.group is not None}
    return [shape for shape in shapes if not (shape.plain and (shape.name, shape.group) in masked)]


def _common(entry: Mapping[str, Any]) -> dict[str, Any]:
    said = entry.get('attributes') or {}
    return {'group': entry.get('group') or None, 'crowd': bool(said.get('is_crowd'))}


def _places(values: Any, least: int) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) < least or not all(abs(value) < LARGEST_SIDE for value in found):
        raise ValueError(f'it takes {least} places in a picture')
    return found


def _read_mask(entry: Mapping[str, Any], name: str) -> Shape:
    code = {'size': list(entry['rle']['size']), 'counts': entry['rle']['counts']}
    fault = mask_fault(code, None, None)
    if fault:
        raise ValueError(fault)
    return Shape(name, pixels=of_code(code), **_common(entry))


def _read_polygon(entry: Mapping[str, Any], name: str) -> Shape:
    return Shape(name, _places(entry['points'], 6), **_common(entry))


def _read_box(entry: Mapping[str, Any], name: str) -> Shape:
    x, y, width, height = _places(entry['bbox'], 4)
    return Shape(name, rotated_box(x, y, x + width, y + height), plain=True, **_common(entry))


def _read_ellipse(entry: Mapping[str, Any], name: str) -> Shape:
    x1, y1, x2, y2 = _places(entry['points'], 4)
    corners = ellipse((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2)
    return Shape(name, corners, **_common(entry))


_READERS: dict[str, Callable[[Mapping[str, Any], str], Shape]] = {
    'mask': _read_mask,
    'polygon': _read_polygon,
    'bbox': _read_box,
    'ellipse': _read_ellipse,
}
