"""Boxes and masks in Label Studio's JSON, as a project exports it."""

from __future__ import annotations

import base64
import io
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.converters.xml_files import read_xml
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.gather import Gathering, beginning, found_picture, locate, read_json, said_size
from denseclip.datasets.own_data.pictures import PICTURE_SUFFIXES, FoundPicture
from denseclip.datasets.own_data.shapes import Shape, ellipse
from denseclip.datasets.own_data.splits import split_of
from denseclip.structures.brush import decode_brush

_UPLOADED = re.compile(r'[0-9a-f]{8}-(.+)')
"""Names of uploaded files: Label Studio puts eight characters before them."""

_PLACES = 9  # decimals of a pixel that are kept: shares of sides, times the sides, are whole again


def label_studio_files(folder: Path) -> list[Path]:
    """Label Studio's files of a data set; none if it is another layout.

    Args:
        folder: A JSON file of a project's export (JSON or JSON-MIN), and the pictures, anywhere below.
    """
    paths = [path for path in sorted([*folder.glob('*.json'), *folder.glob('*/*.json')]) if _is_list(path)]
    return [path for path in paths if any(True for _ in _tasks(path))]


def _is_list(path: Path) -> bool:
    return beginning(path, 2**10).lstrip().startswith('[')


def from_label_studio(folder: Path, paths: Sequence[Path], conversion: Conversion) -> BoxData:
    """A data set of Label Studio's JSON, made COCO's in ``conversion.target``.

    What people drew counts; of a picture that nobody has looked at, the last prediction. A picture with neither is left
    out.

    Args:
        folder: The data set; ``label_config.xml`` in it says the order of the classes.
        paths: Its files, see :func:`label_studio_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged or pictures are missing.
    """
    gathered = Gathering(folder)
    known: Counter[str] = Counter()
    for path in paths:
        for number, task in enumerate(_tasks(path), start=1):
            results = _results(task, known)
            if results is None:
                continue
            data = task['data']
            split = split_of(str(data.get('split') or '')) or split_of(path.stem)
            gathered.add(split, partial(_picture, folder, path, number, task, results, gathered.left_out))
    gathered.notes += [said.format(count) for said, count in known.items()]
    return gathered.box_data(conversion, _labels(folder))


def _tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Tasks of a file, those of JSON-MIN in the form of JSON; none if it is no such file."""
    try:
        content = read_json(path)
    except ConversionError:
        return
    for entry in content if isinstance(content, list) else ():
        if not isinstance(entry, dict):
            return
        if isinstance(entry.get('data'), dict) and isinstance(entry.get('annotations', entry.get('predictions')), list):
            yield entry
        elif any(_is_drawn(value) for value in entry.values()):
            drawn = [value for values in entry.values() if _is_drawn(values) for value in values]
            data = {key: value for key, value in entry.items() if not _is_drawn(value)}
            yield {'data': data, 'annotations': [{'result': [_whole(value) for value in drawn]}]}


def _is_drawn(value: Any) -> bool:
    """Whether a value of JSON-MIN is a list of shapes."""
    return isinstance(value, list) and any(isinstance(part, dict) and 'original_width' in part for part in value)


def _whole(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = next((key for key in value if key.endswith('labels')), '')
    sizes = {key: value.get(key) for key in ('original_width', 'original_height')}
    return {**sizes, 'type': kind, 'value': dict(value)}


def _results(task: Mapping[str, Any], known: Counter[str]) -> list[Any] | None:
    """What is drawn in a picture; None where nobody has said anything."""
    done = [
        entry
        for entry in task.get('annotations') or ()
        if isinstance(entry, dict) and not entry.get('was_cancelled') and isinstance(entry.get('result'), list)
    ]
    if done:
        known['{} pictures have several annotations: the ground truth counts, or else the latest'] += len(done) > 1
        best = max(done, key=lambda entry: (bool(entry.get('ground_truth')), str(entry.get('updated_at') or '')))
        return best['result']
    said = [entry for entry in task.get('predictions') or () if isinstance(entry, dict) and 'result' in entry]
    if not said:
        known['{} pictures that nobody has looked at are left out'] += 1
        return None
    known['{} pictures that nobody has looked at have what a model predicted'] += 1
    return said[-1]['result']


def _picture(
    folder: Path, source: Path, number: int, task: Mapping[str, Any], results: Sequence[Any], left_out: Counter[str]
) -> FoundPicture:
    places = [source.parent, source.parent / 'images', folder, folder / 'images']
    given = _given(task)
    if not given:
        raise ConversionError(
            f'{source}: task {number} names no picture; those inside of the file cannot be trained on'
        )
    try:
        place = locate(source, given, places)
    except ConversionError:
        uploaded = _UPLOADED.fullmatch(PurePosixPath(given).name)
        if uploaded is None:
            raise
        place = locate(source, uploaded[1], places)
    shapes: list[Shape] = []
    said = None
    for entry in results:
        try:
            found = _shapes(entry)
            said = said or said_size(entry.get('original_height'), entry.get('original_width'))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConversionError(f'{source}: task {number} ({given}): a shape cannot be read ({error})') from error
        if isinstance(found, str):
            left_out[found] += bool(found)
        else:
            shapes += found
    return found_picture(place, source, said, shapes, whole=True)


def _given(task: Mapping[str, Any]) -> str:
    """Path of the picture of a task, without what a server puts before it."""
    values = [value for value in task['data'].values() if isinstance(value, str) and not value.startswith('data:')]
    for value in values:
        parts = urlsplit(value) if '://' in value or value.startswith('/data/') else None
        local = parse_qs(parts.query).get('d') if parts else None
        path = local[0] if local else unquote(parts.path) if parts else value
        if path.lower().endswith(PICTURE_SUFFIXES):
            return path.lstrip('/')
    return ''


def _shapes(entry: Mapping[str, Any]) -> list[Shape] | str:
    """Objects of an entry, one for each of its classes, or the kind of what is left out."""
    value, kind = entry['value'], str(entry.get('type') or '')
    names = value.get(kind, value.get('labels')) if isinstance(value, dict) else None
    if not names:
        bare = kind in ('rectangle', 'polygon', 'ellipse', 'brush', 'bitmask')  # another entry has its class
        return '' if bare else kind or 'no shape'
    size = (entry.get('original_height'), entry.get('original_width'))
    known = said_size(*size)
    if known is None:
        raise ValueError(f'it says the picture is of {size[1]!r:.20} x {size[0]!r:.20} pixels')
    fields = _field(value, known)
    if fields is None:
        return kind
    return [Shape(str(name), **fields) for name in names if str(name).strip()]


def _field(value: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    """Place of a shape in pixels; None if it has no area."""
    height, width = size
    across, down = width / 100, height / 100
    if 'rle' in value:
        return {'pixels': (0, 0, decode_brush(value['rle'], size))}
    if 'imageDataURL' in value:
        return {'pixels': (0, 0, _bitmask(str(value['imageDataURL']), size))}
    if 'points' in value:
        points = [(float(x) * across, float(y) * down) for x, y in value['points']]
        if len(points) < 3:
            raise ValueError('it takes three points to span an area')
        return {'polygon': _rounded(points)}
    turned = math.radians(float(value.get('rotation') or 0))
    if 'radiusX' in value:
        x, y = float(value['x']) * across, float(value['y']) * down
        corners = ellipse(0, 0, float(value['radiusX']) * across, float(value['radiusY']) * down)
        around = list(zip(corners[0::2], corners[1::2], strict=True))
        return {'polygon': _rounded(_turn(around, turned, x, y))}
    if 'width' in value and 'height' in value:
        x, y = float(value['x']) * across, float(value['y']) * down
        w, h = float(value['width']) * across, float(value['height']) * down
        corners4 = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)]  # it turns about its first corner
        return {'polygon': _rounded(_turn(corners4, turned, x, y)), 'plain': not turned}
    return None


def _turn(points: Sequence[tuple[float, float]], turned: float, x: float, y: float) -> list[tuple[float, float]]:
    cosine, sine = math.cos(turned), math.sin(turned)
    return [(x + a * cosine - b * sine, y + a * sine + b * cosine) for a, b in points]


def _rounded(points: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(round(value, _PLACES) for point in points for value in point)


def _bitmask(address: str, size: tuple[int, int]) -> np.ndarray:
    """The mask of a picture in a ``data:`` address: what is neither black nor transparent."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(address.partition(',')[2], validate=True))) as image:
            pixels = np.asarray(image.convert('RGBA'))
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f'its mask is no picture: {error}') from error
    if pixels.shape[:2] != size:
        raise ValueError(f'its mask is of {pixels.shape[:2]} pixels, its picture of {size}')
    return (pixels[:, :, 3] > 0) & pixels[:, :, :3].any(axis=2)


def _labels(folder: Path) -> list[str]:
    """Names of the classes in the order of the project's setup, where it lies beside the tasks."""
    path = folder / 'label_config.xml'
    if not path.is_file():
        return []
    try:
        root: ET.Element = read_xml(path)
    except ValueError:
        return []
    return list(dict.fromkeys(entry.get('value') or '' for entry in root.iter('Label') if entry.get('value')))
