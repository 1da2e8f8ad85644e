"""Boxes and masks in FiftyOne's own layout, ``FiftyOneDataset``."""

from __future__ import annotations

import base64
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from denseclip.datasets.coco_objects import LARGEST_SIDE
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.files import UnreadableFileError, image_size, open_picture
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.gather import Gathering, found_picture, locate, read_json, said_size
from denseclip.datasets.own_data.pictures import FoundPicture
from denseclip.datasets.own_data.shapes import Shape, rotated_box
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import globbed

_LARGEST = 2**28  # bytes of a mask
_LISTS = {'Detections': 'detections', 'Polylines': 'polylines'}
_USUAL = 'ground_truth'


def fiftyone_files(folder: Path) -> list[Path]:
    """FiftyOne's files of a data set: ``samples.json`` beside ``metadata.json``; none if it is another layout."""
    found = globbed(folder, 'samples.json', '*/samples.json')
    return [path for path in found if path.with_name('metadata.json').is_file()]


def from_fiftyone(folder: Path, paths: Sequence[Path], conversion: Conversion) -> BoxData:
    """A data set of FiftyOne's, made COCO's in ``conversion.target``.

    Labels of the field ``ground_truth`` count, or those of the only field. Detections with ``iscrowd`` are crowds; tags
    of samples such as ``train`` are splits.

    Args:
        folder: The data set.
        paths: Its files, see :func:`fiftyone_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged, pictures are missing, or several fields have labels.
    """
    gathered = Gathering(folder)
    for path in paths:
        content = read_json(path)
        samples = content.get('samples') if isinstance(content, dict) else None
        if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
            raise ConversionError(f'{path}: is no file of FiftyOne, it lacks the list "samples"')
        chosen = _field(path, samples)
        if chosen is None:
            gathered.notes.append(f'{path}: {len(samples)} pictures are left out, as no field of theirs has labels')
            continue
        gathered.notes.append(f'{path}: the labels of the field "{chosen}" are read')
        inside = split_of(path.parent.relative_to(folder).as_posix())
        for sample in samples:
            tags = sample.get('tags')
            named = {split for tag in (tags if isinstance(tags, list) else []) if (split := split_of(str(tag)))}
            if len(named) > 1:
                said = ', '.join(sorted(named))
                gathered.problems.append(f'{path}: {sample.get("filepath")}: has tags of the splits {said}; keep one')
                continue
            split = next(iter(named), inside)
            gathered.add(split, partial(_picture, folder, path, sample, chosen, gathered.left_out))
    return gathered.box_data(conversion)


def _field(path: Path, samples: Sequence[Mapping[str, Any]]) -> str | None:
    """Name of the field to read; None if no sample has labels."""
    fields = {
        key: None
        for sample in samples
        for key, value in sample.items()
        if isinstance(value, dict) and value.get('_cls') in _LISTS
    }
    if len(fields) > 1 and _USUAL not in fields:
        raise ConversionError(
            f'{path}: the fields {", ".join(sorted(fields))} have labels; call the one to train on "{_USUAL}", or '
            'export it alone'
        )
    if _USUAL in fields or not fields:
        return _USUAL if fields else None
    [only] = fields
    for sample in samples:
        if isinstance(value := sample.get(_USUAL), dict):
            raise ConversionError(
                f'{path}: the field "{_USUAL}" is of the kind {value.get("_cls")}, which has no boxes; if the labels '
                f'of "{only}" are to be trained on, call them "{_USUAL}" or export them alone'
            )
    return only


def _picture(folder: Path, source: Path, sample: Mapping[str, Any], field: str, left_out: Counter[str]) -> FoundPicture:
    given = str(sample.get('filepath') or '')
    place = locate(source, given, (source.parent / 'data', source.parent, folder))
    about = sample.get('metadata') or {}
    said = said_size(about.get('height'), about.get('width')) if isinstance(about, dict) else None
    labels = sample.get(field) or {}
    shapes: list[Shape] = []
    try:
        kind = _LISTS[labels['_cls']] if labels else ''
        size = said or image_size(place[0])
        for number, entry in enumerate(labels.get(kind) or ()):
            name = str(entry.get('label') or '').strip()
            if not name:
                left_out[f'{kind} without a label'] += 1
                continue
            if kind == 'detections':
                shapes += _detection(entry, name, size, source)
            else:
                shapes += _polyline(entry, number, size, left_out)
    except (TypeError, ValueError, KeyError, AttributeError, zlib.error) as error:
        raise ConversionError(f'{source}: {given}: a label of "{field}" cannot be read ({error})') from error
    return found_picture(place, source, said, shapes)


def _detection(entry: Mapping[str, Any], name: str, size: tuple[int, int], source: Path) -> list[Shape]:
    height, width = size
    x, y, w, h = (float(value) for value in entry['bounding_box'])
    left, top, right, bottom = x * width, y * height, (x + w) * width, (y + h) * height
    if not all(abs(value) < LARGEST_SIDE for value in (left, top, right, bottom)):
        raise ValueError('a box is in no picture')
    crowd = _is_crowd(entry)
    mask = _mask(entry, source)
    if mask is None:
        corners = tuple(round(value, 9) for value in rotated_box(left, top, right, bottom))
        return [Shape(name, corners, plain=True, crowd=crowd)]
    first = (round(left), round(top))
    sides = (max(1, round(right) - first[0]), max(1, round(bottom) - first[1]))
    if mask.shape != sides[::-1]:
        mask = cv2.resize(mask.astype(np.uint8), sides, interpolation=cv2.INTER_NEAREST).astype(bool)
    return [Shape(name, pixels=(*first, mask), crowd=crowd)]


def _is_crowd(entry: Mapping[str, Any]) -> bool:
    given = entry.get('iscrowd', (entry.get('attributes') or {}).get('iscrowd'))
    return bool(given.get('value') if isinstance(given, dict) else given)


def _mask(entry: Mapping[str, Any], source: Path) -> np.ndarray | None:
    """The mask inside the box of a detection, from the file itself or from one beside it."""
    given = entry.get('mask')
    if given is not None and not isinstance(given, dict):
        raise ValueError(
            f'its mask is {type(given).__name__}, not {{"$binary": ...}} as in a FiftyOneDataset; export it anew'
        )
    if given is not None:
        packed = base64.b64decode(given['$binary']['base64'], validate=True)
        unpacked = zlib.decompressobj().decompress(packed, _LARGEST)
        pixels = np.load(io.BytesIO(unpacked), allow_pickle=False)
    elif entry.get('mask_path'):
        path, _ = locate(source, str(entry['mask_path']), (source.parent,))
        try:
            with open_picture(path) as image:
                pixels = np.asarray(image.convert('L'))
        except UnreadableFileError as error:
            raise ConversionError(str(error)) from error
    else:
        return None
    if pixels.ndim != 2 or not pixels.size:
        raise ValueError(f'a mask is of the shape {pixels.shape}')
    return pixels > 0


def _polyline(entry: Mapping[str, Any], number: int, size: tuple[int, int], left_out: Counter[str]) -> Iterator[Shape]:
    """Parts of one object; lines that are not closed have no area."""
    height, width = size
    if not (entry.get('closed') or entry.get('filled')):
        left_out['polylines that are neither closed nor filled'] += 1
        return
    for points in entry['points']:
        corners = tuple(
            round(float(v) * side, 9) for point in points for v, side in zip(point, (width, height), strict=True)
        )
        if len(corners) >= 6:
            yield Shape(str(entry['label']).strip(), corners, group=f'polyline {number}', crowd=_is_crowd(entry))
        else:
            left_out['parts of polylines with fewer than three points'] += 1
