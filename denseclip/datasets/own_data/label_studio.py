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
from denseclip.datasets.own_data.pictures import FoundPicture
from denseclip.datasets.own_data.shapes import Shape, ellipse
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import PICTURE_SUFFIXES, globbed
from denseclip.files.pixels import open_safely
from denseclip.structures.brush import decode_brush

_UPLOADED = re.compile(r'[0-9a-f]{8}-(.+)')
"""Names of uploaded files: Label Studio puts eight characters before them."""

_SAID = ('choices', 'taxonomy', 'rating', 'text', 'number', 'datetime', 'pairwise', 'ranker')
"""What may be said of a picture or of a shape, beside its class."""

_PLACES = 9  # decimals of a pixel that are kept: shares of sides, times the sides, are whole again


def label_studio_files(folder: Path) -> list[Path]:
    """Label Studio's files of a data set; none if it is another layout.

    Args:
        folder: A JSON file of a project's export (JSON or JSON-MIN), and the pictures, anywhere below.
    """
    paths = [path for path in globbed(folder, '*.json', '*/*.json') if _is_list(path)]
    return [path for path in paths if any(True for _ in _tasks(path))]


def _is_list(path: Path) -> bool:
    return beginning(path, 2**10).lstrip().startswith('[')


def from_label_studio(folder: Path, paths: Sequence[Path], conversion: Conversion) -> BoxData:
    """A data set of Label Studio's JSON, made COCO's in ``conversion.target``.

    What people drew counts; of a picture that nobody has looked at, the last prediction. A picture with neither is left
    out, and so is one that everybody skipped. Relations, choices, ratings and texts are counted and left out.

    Args:
        folder: The data set; ``label_config.xml`` in it says the order of the classes, and which value of a task is
            its picture.
        paths: Its files, see :func:`label_studio_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged or pictures are missing.
    """
    gathered = Gathering(folder)
    known: Counter[str] = Counter()
    config = _config(folder)
    keys = _picture_keys(config)
    for path in paths:
        for number, task in enumerate(_tasks(path), start=1):
            results = _results(task, known)
            if results is None:
                continue
            data = task['data']
            split = split_of(str(data.get('split') or '')) or split_of(path.stem)
            gathered.add(split, partial(_picture, folder, path, (number, task, results), keys, gathered.left_out))
    gathered.notes += [said.format(count) for said, count in known.items()]
    return gathered.box_data(conversion, _labels(config))


def _tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Tasks of a file, those of JSON-MIN in the form of JSON; none if it is no such file."""
    try:
        content = read_json(path)
    except ConversionError:
        return
    short: dict[Any, dict[str, Any]] = {}  # JSON-MIN has an entry for each annotation of a task
    for place, entry in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(entry, dict):
            return
        if isinstance(entry.get('data'), dict) and isinstance(entry.get('annotations', entry.get('predictions')), list):
            yield entry
        elif 'annotation_id' in entry or any(_is_drawn(value) for value in entry.values()):
            drawn = [value for values in entry.values() if _is_drawn(values) for value in values]
            data = {key: value for key, value in entry.items() if not _is_drawn(value)}
            task = short.setdefault(str(entry.get('id', f'entry {place}')), {'data': data, 'annotations': []})
            said = {'result': [_whole(value) for value in drawn], 'updated_at': entry.get('updated_at')}
            task['annotations'].append(said)
    yield from short.values()


def _is_drawn(value: Any) -> bool:
    """Whether a value of JSON-MIN is a list of shapes."""
    return isinstance(value, list) and any(isinstance(part, dict) and 'original_width' in part for part in value)


def _whole(value: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {key: value.get(key) for key in ('original_width', 'original_height')}
    return {**sizes, 'value': dict(value)}


def _results(task: Mapping[str, Any], known: Counter[str]) -> list[Any] | None:
    """What is drawn in a picture; None where nobody has said anything."""
    made = [entry for entry in task.get('annotations') or () if isinstance(entry, dict)]
    done = [entry for entry in made if not entry.get('was_cancelled') and isinstance(entry.get('result'), list)]
    if made and all(entry.get('was_cancelled') for entry in made):
        known['{} pictures that people skipped are left out, whatever a model predicted'] += 1
        return None
    if done:
        if len(done) > 1:
            known['{} pictures have several annotations: the ground truth counts, or else the latest'] += 1
        best = max(done, key=lambda entry: (bool(entry.get('ground_truth')), str(entry.get('updated_at') or '')))
        return best['result']
    said = [entry for entry in task.get('predictions') or () if isinstance(entry, dict) and 'result' in entry]
    if not said:
        known['{} pictures that nobody has looked at are left out'] += 1
        return None
    known['{} pictures that nobody has looked at have what a model predicted'] += 1
    return said[-1]['result']


def _picture(
    folder: Path,
    source: Path,
    entry: tuple[int, Mapping[str, Any], Sequence[Any]],
    keys: Sequence[str],
    left_out: Counter[str],
) -> FoundPicture:
    number, task, results = entry
    places = [source.parent, source.parent / 'images', folder, folder / 'images']
    try:
        given = _given(task, keys)
    except ValueError as error:
        raise ConversionError(f'{source}: task {number}: {error}') from error
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
    for result in results:
        try:
            found = _shapes(result)
            said = said or said_size(result.get('original_height'), result.get('original_width'))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConversionError(f'{source}: task {number} ({given}): a shape cannot be read ({error})') from error
        if isinstance(found, str):
            left_out[found] += bool(found)
        else:
            shapes += found
    return found_picture(place, source, said, shapes, whole=True)


def _given(task: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Path of the picture of a task, without what a server puts before it; empty if it has none.

    Args:
        task: One of :func:`_tasks`.
        keys: Of the data that are pictures; none: whichever looks so.

    Raises:
        ValueError: Several are pictures, or an address cannot be read.
    """
    data = task['data']
    wanted = [key for key in keys if key in data] or list(data)
    paths = {key: path for key in wanted if (path := _path(data[key]))}
    longest = f'/{max(paths.values(), key=len, default="")}'
    if not all(longest.endswith(f'/{path}') for path in paths.values()):
        raise ValueError(
            f"{', '.join(map(str, paths))} name several pictures; put the project's setup beside as label_config.xml "
            'with one <Image>, or export tasks of one picture each'
        )
    return next(iter(paths.values()), '')


def _path(value: Any) -> str:
    """Path of a picture that a value of a task names; empty if it names none."""
    if not isinstance(value, str) or value.startswith('data:'):
        return ''
    try:
        parts = urlsplit(value) if '://' in value or value.startswith('/data/') else None
    except ValueError as error:
        if not value.lower().endswith(PICTURE_SUFFIXES):
            return ''
        raise ValueError(f'the address "{value:.80}" cannot be read ({error})') from error
    local = parse_qs(parts.query).get('d') if parts else None
    path = local[0] if local else unquote(parts.path) if parts else value
    return path.lstrip('/') if path.lower().endswith(PICTURE_SUFFIXES) else ''


def _shapes(entry: Mapping[str, Any]) -> list[Shape] | str:
    """Objects of an entry, one for each of its classes, or the kind of what is left out."""
    value = entry.get('value')
    kind = str(entry.get('type') or _kind(value))
    names = value.get(kind, value.get('labels')) if isinstance(value, dict) and kind.endswith('labels') else None
    if not isinstance(value, dict) or not names:
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


def _kind(value: Any) -> str:
    """What an entry that does not say it is."""
    said = value if isinstance(value, dict) else {}
    return next((key for key in said if str(key).endswith('labels')), next((key for key in said if key in _SAID), ''))


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
        with open_safely(io.BytesIO(base64.b64decode(address.partition(',')[2], validate=True))) as image:
            pixels = np.asarray(image.convert('RGBA'))
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f'its mask is no picture: {error}') from error
    if pixels.shape[:2] != size:
        raise ValueError(f'its mask is of {pixels.shape[:2]} pixels, its picture of {size}')
    return (pixels[:, :, 3] > 0) & pixels[:, :, :3].any(axis=2)


def _config(folder: Path) -> ET.Element | None:
    """The project's setup, where it lies beside the tasks."""
    path = folder / 'label_config.xml'
    try:
        return read_xml(path) if path.is_file() else None
    except ValueError:
        return None


def _labels(config: ET.Element | None) -> list[str]:
    """Names of the classes in the order of the project's setup."""
    entries = config.iter('Label') if config is not None else ()
    return list(dict.fromkeys(entry.get('value') or '' for entry in entries if entry.get('value')))


def _picture_keys(config: ET.Element | None) -> list[str]:
    """Keys of the data of a task that the project's setup shows as pictures."""
    entries = config.iter('Image') if config is not None else ()
    return list(dict.fromkeys((entry.get('value') or '').lstrip('$') for entry in entries))
