"""Boxes and masks in CVAT's own XML, "CVAT for images 1.1"."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from denseclip.datasets.coco_objects import LARGEST_SIDE
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.converters.xml_files import read_xml, root_tag
from denseclip.datasets.own_data.data import BoxData, Conversion
from denseclip.datasets.own_data.gather import Gathering, found_picture, locate
from denseclip.datasets.own_data.pictures import FoundPicture
from denseclip.datasets.own_data.shapes import Shape, ellipse, rotated_box
from denseclip.datasets.own_data.splits import split_of
from denseclip.files.pictures import globbed

_LARGEST_MASK = 2**28  # pixels


def cvat_files(folder: Path) -> list[Path]:
    """CVAT's files of a data set; none if it is another layout.

    Args:
        folder: ``annotations.xml`` and the pictures, in ``images/`` or anywhere below.
    """
    return [path for path in globbed(folder, '*.xml', '*/*.xml') if root_tag(path) == 'annotations']


def from_cvat(folder: Path, paths: Iterable[Path], conversion: Conversion) -> BoxData:
    """A data set of CVAT's XML, made COCO's in ``conversion.target``.

    Args:
        folder: The data set.
        paths: Its files, see :func:`cvat_files`.
        conversion: How files are made.

    Raises:
        ConversionError: Files are damaged, pictures are missing, or it is a video.
    """
    gathered = Gathering(folder)
    labels: dict[str, None] = {}
    for path in paths:
        try:
            root = read_xml(path)
        except ValueError as error:
            raise ConversionError(f'{path}: is no readable XML ({error})') from error
        if root.find('track') is not None:
            raise ConversionError(f'{path}: holds tracks of a video; export it as "CVAT for images 1.1"')
        labels |= dict.fromkeys((name.text or '').strip() for name in root.iterfind('meta//labels/label/name'))
        inside = path.parent.relative_to(folder).as_posix()
        for image in root.iterfind('image'):
            split = split_of(image.get('subset') or '') or split_of(inside)
            gathered.add(split, partial(_picture, folder, path, image, gathered.left_out))
    return gathered.box_data(conversion, list(labels))


def _picture(folder: Path, source: Path, image: ET.Element, left_out: Counter[str]) -> FoundPicture:
    given = image.get('name') or ''
    images = source.parent / 'images'
    place = locate(
        source, given, (images / (image.get('subset') or ''), images, folder / 'images', folder, source.parent)
    )
    sides = [image.get('height') or '', image.get('width') or '']
    said = (int(sides[0]), int(sides[1])) if all(map(str.isdecimal, sides)) else None
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
    return found_picture(place, source, said, shapes, given)


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
