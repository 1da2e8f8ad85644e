"""Boxes and masks in labelme's JSON files, one beside each picture."""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.datasets.coco_objects import LARGEST_SIDE, is_side
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.files import UnreadableFileError, read_text
from denseclip.datasets.own_data.class_files import listed_first
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.gather import Gathering, found_picture
from denseclip.datasets.own_data.pictures import FoundPicture, find_picture, find_pictures
from denseclip.datasets.own_data.shapes import Shape, ellipse, rotated_box
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import files_of
from denseclip.files.pixels import open_safely

_NO_CLASSES = ('__ignore__', '_background_')  # labelme's own words
_LARGEST = 2**26  # bytes; a larger file is none of labelme's
_PROBES = 20


def labelme_files(folder: Path) -> list[Path]:
    """Labelme's files of a data set; none if it is another layout.

    Args:
        folder: JSON files with the pictures beside them, perhaps in a folder for each split.

    Returns:
        The files, with damaged ones that have a picture of their name.
    """
    paths = files_of(folder, ('.json',), deep=True)
    if not any(_reads(path) for path in paths[:_PROBES]):
        return []
    named = [path for path in paths if find_pictures(folder, path.relative_to(folder).with_suffix('').as_posix())]
    return sorted({*named, *filter(_reads, paths)})


def _reads(path: Path) -> bool:
    try:
        _read(path)
    except ConversionError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    """The content of a file.

    Raises:
        ConversionError: It is none of labelme's.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ConversionError(f'{path}: is too large for a file of labelme')
        content = json.loads(read_text(path))
    except UnreadableFileError as error:
        raise ConversionError(str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConversionError(f'{path}: is no readable JSON ({error})') from error
    if not isinstance(content, dict) or not isinstance(content.get('shapes'), list) or 'imagePath' not in content:
        raise ConversionError(f'{path}: is no file of labelme, it lacks "shapes" or "imagePath"')
    return content


def from_labelme(folder: Path, paths: list[Path], conversion: Conversion) -> BoxData:
    """A data set of labelme's files, made COCO's in ``conversion.target``.

    Args:
        folder: The data set.
        paths: Its files, see :func:`labelme_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged or pictures are missing.
    """
    gathered = Gathering(folder)
    for path in paths:
        split = split_of(path.parent.relative_to(folder).as_posix())
        gathered.add(split, partial(_picture, folder, path, gathered.left_out))
    pictures = [picture for part in gathered.found.values() for picture in part.values()]
    classes, ordered = listed_first(folder, {entry.name for picture in pictures for entry in picture.objects})
    gathered.notes += ordered
    return gathered.box_data(conversion, classes)


def _picture(folder: Path, source: Path, left_out: Counter[str]) -> FoundPicture:
    content = _read(source)
    given = str(content['imagePath']).replace('\\', '/')
    places = [source.parent / given, source.parent / given.rsplit('/', 1)[-1], source.with_suffix(Path(given).suffix)]
    name = source.relative_to(folder).with_suffix('').as_posix()
    path = next((place for place in places if place.is_file()), None) or find_picture(folder, name)
    if path is None:
        raise ConversionError(f'{source}: its picture {given} is not there')
    said = (content.get('imageHeight'), content.get('imageWidth'))
    for key, value in zip(('imageHeight', 'imageWidth'), said, strict=True):
        if value is not None and not is_side(value):
            raise ConversionError(f'{source}: has the "{key}" {value!r:.40}; write pixels as a plain number, or null')
    known = (said[0], said[1]) if isinstance(said[0], int) and isinstance(said[1], int) else None
    shapes = []
    for place, shape in enumerate(content['shapes']):
        try:
            read = _shape(shape)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConversionError(f'{source}: shape {place} cannot be read ({error})') from error
        if isinstance(read, str):
            left_out[read] += 1
        else:
            shapes.append(read)
    return found_picture((path, f'{name}{path.suffix}'), source, known, shapes, source.name)


def _shape(shape: Mapping[str, Any]) -> Shape | str:
    """A shape, or the kind of one that is left out."""
    name, kind = shape['label'], shape.get('shape_type') or 'polygon'
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'it has the label {name!r:.40}; write the name of its class as text in quotes')
    name = name.strip()
    if name in _NO_CLASSES:
        return name
    points = [(float(x), float(y)) for x, y in shape['points']]
    if not all(abs(value) < LARGEST_SIDE for point in points for value in point):
        raise ValueError('a point is in no picture')
    group = shape.get('group_id')
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if kind == 'mask':
        pixels = _read_pixels(str(shape['mask']))
        return Shape(name, pixels=(round(min(xs)), round(min(ys)), pixels), group=group)
    if kind == 'rectangle' and len(points) >= 2:
        return Shape(name, rotated_box(min(xs), min(ys), max(xs), max(ys)), group=group, plain=True)
    if kind == 'circle' and len(points) == 2:
        radius = math.dist(*points)
        return Shape(name, ellipse(*points[0], radius, radius), group=group)
    if kind in ('polygon', 'oriented_rectangle') and len(points) >= 3:
        return Shape(name, tuple(value for point in points for value in point), group=group)
    return str(kind) if len(points) >= 3 or kind not in ('polygon', 'rectangle') else f'{kind} of {len(points)} points'


def _read_pixels(text: str) -> np.ndarray:
    """The picture of a mask that stands in a shape."""
    try:
        image = open_safely(io.BytesIO(base64.b64decode(text, validate=True)))
        return np.asarray(image.convert('L')) > 0
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f'its mask is no picture: {error}') from error
