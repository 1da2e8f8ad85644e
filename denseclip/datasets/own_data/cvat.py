"""Boxes and masks in CVAT's own XML, "CVAT for images 1.1"."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from denseclip.datasets.coco_objects import LARGEST_SIDE
from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.converters.xml_files import read_xml, root_tag
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.pictures import Found, FoundPicture, as_box_data, measure
from denseclip.datasets.own_data.shapes import Shape, as_objects, ellipse, rotated_box
from denseclip.datasets.own_data.splits import split_of

_LARGEST_MASK = 2**28  # pixels


def cvat_files(folder: Path) -> list[Path]:
    """CVAT's files of a data set; none if it is another layout.

    Args:
        folder: ``annotations.xml`` and the pictures, in ``images/`` or anywhere below.
    """
    return [
        path for path in sorted([*folder.glob('*.xml'), *folder.glob('*/*.xml')]) if root_tag(path) == 'annotations'
    ]


def from_cvat(folder: Path, paths: Iterable[Path], conversion: Conversion) -> BoxData:
    """A data set of CVAT's XML, made COCO's in ``conversion.target``.

    Args:
        folder: The data set.
        paths: Its files, see :func:`cvat_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged, pictures are missing, or it is a video.
    """
    found: dict[str, list[FoundPicture]] = {}
    labels: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    problems: list[str] = []
    for path in paths:
        try:
            root = read_xml(path)
        except ValueError as error:
            raise ConversionError(f'{path}: is no readable XML ({error})') from error
        if root.find('track') is not None:
            raise ConversionError(f'{path}: holds tracks of a video; export it as "CVAT for images 1.1"')
        labels |= dict.fromkeys((name.text or '').strip() for name in root.iterfind('meta//labels/label/name'))
        for image in root.iterfind('image'):
            inside = path.parent.relative_to(folder).as_posix()
            split = split_of(image.get('subset') or '') or split_of(inside) or 'all'
            try:
                found.setdefault(split, []).append(_picture(folder, path, image, left_out))
            except ConversionError as error:
                problems.append(str(error))
    raise_if_any(problems, folder)
    if 'train' not in found:
        found = {'all': [picture for part in found.values() for picture in part]}
    names = dict.fromkeys(entry.name for part in found.values() for picture in part for entry in picture.objects)
    listed = ', '.join(f'{kind} ({count})' for kind, count in left_out.items())
    notes = [f'left out, as they have no area: {listed}'] if left_out else []
    return as_box_data(Found([*labels, *(name for name in names if name not in labels)], found, notes), conversion)


def _picture(folder: Path, source: Path, image: ET.Element, left_out: Counter[str]) -> FoundPicture:
    given = (image.get('name') or '').replace('\\', '/')
    parts = [part for part in PurePosixPath(given).parts if part not in ('/', '..')]
    subset = image.get('subset') or ''
    tails = ['/'.join(parts), parts[-1] if parts else '']
    places = [
        place / tail
        for tail in tails
        for place in (
            source.parent / 'images' / subset,
            source.parent / 'images',
            source.parent,
            folder / 'images',
            folder,
        )
    ]
    path = next((place for place in places if tails[0] and place.is_file()), None)
    if path is None:
        raise ConversionError(f'{source}: its picture "{given}" is not below {source.parent}')
    sides = [image.get('height') or '', image.get('width') or '']
    said = (int(sides[0]), int(sides[1])) if all(map(str.isdecimal, sides)) else None
    size = measure(path, said, source)
    shapes = []
    for element in image:
        read = _READERS.get(element.tag)
        name = (element.get('label') or '').strip()
        if read is None or not name:
            left_out[element.tag] += 1
            continue
        try:
            shapes.append(read(element, name))
        except (TypeError, ValueError) as error:
            raise ConversionError(
                f'{source}: a {element.tag} of "{name}" in {given}: cannot be read ({error})'
            ) from error
    try:
        objects = as_objects(shapes, size)
    except ValueError as error:
        raise ConversionError(f'{source}: {given}: {error}') from error
    return FoundPicture(path, tails[0], source, size, said, objects)


def _numbers(element: ET.Element, *keys: str) -> list[float]:
    values = [float(element.get(key) or '') for key in keys]
    if not all(abs(value) < LARGEST_SIDE for value in values):
        raise ValueError(f'{", ".join(keys)} are not all places in a picture')
    return values


def _group(element: ET.Element) -> str | None:
    group = element.get('group_id') or '0'
    return None if group == '0' else group


def _read_box(element: ET.Element, name: str) -> Shape:
    degrees = float(element.get('rotation') or 0)
    left, top, right, bottom = _numbers(element, 'xtl', 'ytl', 'xbr', 'ybr')
    corners = rotated_box(left, top, right, bottom, degrees)
    return Shape(name, corners, group=_group(element), plain=not degrees)


def _read_polygon(element: ET.Element, name: str) -> Shape:
    values = [float(value) for point in (element.get('points') or '').split(';') for value in point.split(',')]
    if len(values) < 6 or len(values) % 2:
        raise ValueError('it takes three points to span an area')
    if not all(abs(value) < LARGEST_SIDE for value in values):
        raise ValueError('a point is in no picture')
    return Shape(name, tuple(values), group=_group(element))


def _read_ellipse(element: ET.Element, name: str) -> Shape:
    x, y, width, height = _numbers(element, 'cx', 'cy', 'rx', 'ry')
    turned = math.radians(float(element.get('rotation') or 0))
    points = np.array(ellipse(0, 0, width, height)).reshape(-1, 2)
    turn = np.array([[math.cos(turned), math.sin(turned)], [-math.sin(turned), math.cos(turned)]])
    return Shape(name, tuple((points @ turn + [x, y]).ravel().tolist()), group=_group(element))


def _read_mask(element: ET.Element, name: str) -> Shape:
    """Run lengths, background first, row by row in the box of the mask."""
    left, top, width, height = map(int, _numbers(element, 'left', 'top', 'width', 'height'))
    runs = [int(value) for value in (element.get('rle') or '').split(',')]
    if min(runs) < 0 or sum(runs) != width * height or width * height > _LARGEST_MASK:
        raise ValueError(f'its run lengths speak of {sum(runs)} pixels, its box of {width * height}')
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return Shape(name, pixels=(left, top, pixels), group=_group(element))


_READERS: dict[str, Callable[[ET.Element, str], Shape]] = {
    'box': _read_box,
    'polygon': _read_polygon,
    'ellipse': _read_ellipse,
    'mask': _read_mask,
}
