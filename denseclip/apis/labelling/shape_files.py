"""Labels in the files of annotation tools: VOC-XML, labelme's JSON, CVAT's XML."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Record, Run
from denseclip.apis.results.base import Region
from denseclip.apis.results.exchange import LABELME, labelme_shapes
from denseclip.structures.outlines import has_holes, outlines


def nothing(record: Record, run: Run) -> Iterator[tuple[str, str]]:
    """No file: all pictures share one."""
    del record, run
    yield from ()


def _known(record: Record, run: Run) -> list[LabelObject]:
    """Objects without the background."""
    return [entry for entry in record.objects if entry.label < len(run.names)]


def voc_picture(record: Record, run: Run) -> Iterator[tuple[str, bytes]]:
    """An XML file of boxes; as in VOC the first pixel is 1, and ``xmax`` the last pixel inside."""
    height, width = record.size
    root = ET.Element('annotation')
    path = PurePosixPath(record.file)
    for tag, text in (('folder', 'JPEGImages'), ('filename', path.name)):
        ET.SubElement(root, tag).text = text
    size = ET.SubElement(root, 'size')
    for tag, value in (('width', width), ('height', height), ('depth', 3)):
        ET.SubElement(size, tag).text = str(value)
    ET.SubElement(root, 'segmented').text = '0'
    for entry in _known(record, run):
        found = ET.SubElement(root, 'object')
        for tag, text in (
            ('name', run.names[entry.label]),
            ('pose', 'Unspecified'),
            ('truncated', '0'),
            ('difficult', '0'),
        ):
            ET.SubElement(found, tag).text = text
        corners = ET.SubElement(found, 'bndbox')
        for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), _pixels(entry.box, width, height), strict=True):
            ET.SubElement(corners, tag).text = str(value)
    yield f'Annotations/{record.name}.xml', _xml(root)


def _pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """First and last pixel of a box, counted from 1: the nearest whole pixels, one at least."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = max(round(box[2]), left + 1), max(round(box[3]), top + 1)
    return left + 1, top + 1, min(right, width), min(bottom, height)


def labelme_picture(record: Record, run: Run) -> Iterator[tuple[str, str]]:
    """A JSON file to lie beside the picture."""
    height, width = record.size
    shapes = [
        shape
        for entry in _known(record, run)
        for shape in labelme_shapes(
            Region(entry.label, run.names[entry.label], entry.box, entry.mask, entry.score),
            run.names[entry.label],
            entry.id,
            run.tolerance,
        )
    ]
    content: dict[str, Any] = {
        'version': LABELME,
        'flags': {},
        'shapes': shapes,
        'imagePath': PurePosixPath(record.file).name,
        'imageData': None,
        'imageHeight': height,
        'imageWidth': width,
    }
    yield f'{record.name}.json', json.dumps(content, ensure_ascii=False, indent=1)


def cvat_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, bytes]]:
    """``annotations.xml``, "CVAT for images 1.1"."""
    root = ET.Element('annotations')
    ET.SubElement(root, 'version').text = '1.1'
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, 'meta'), 'task'), 'labels')
    for name in run.names:
        label = ET.SubElement(labels, 'label')
        ET.SubElement(label, 'name').text = name
        ET.SubElement(label, 'attributes')
    for number, record in enumerate(records):
        height, width = record.size
        said = {'id': str(number), 'name': record.file, 'width': str(width), 'height': str(height)}
        image = ET.SubElement(root, 'image', said | ({'subset': record.split} if record.split else {}))
        for entry in _known(record, run):
            _cvat_shapes(image, entry, run)
    yield 'annotations.xml', _xml(root)


def _cvat_shapes(image: ET.Element, entry: LabelObject, run: Run) -> None:
    common = {'label': run.names[entry.label], 'source': 'auto', 'occluded': '0', 'z_order': '0'}
    if entry.mask is None:
        sides = zip(('xtl', 'ytl', 'xbr', 'ybr'), entry.box, strict=True)
        ET.SubElement(image, 'box', common | {key: f'{value:.2f}' for key, value in sides})
    elif has_holes(entry.mask):
        ET.SubElement(image, 'mask', common | _cvat_mask(entry))
    else:
        polygons = outlines(entry.mask, run.tolerance)
        group = {'group_id': str(entry.id)} if len(polygons) > 1 else {}
        for polygon in polygons:
            points = ';'.join(f'{x:g},{y:g}' for x, y in polygon)
            ET.SubElement(image, 'polygon', common | group | {'points': points})


def _cvat_mask(entry: LabelObject) -> dict[str, str]:
    """Run lengths, background first, row by row in the box of the mask."""
    assert entry.mask is not None
    left, top, right, bottom = math.floor(entry.box[0]), math.floor(entry.box[1]), *map(math.ceil, entry.box[2:])
    flat = entry.mask[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    listed = [0, *runs] if flat[0] else runs
    return {
        'rle': ', '.join(map(str, listed)),
        'left': str(left),
        'top': str(top),
        'width': str(right - left),
        'height': str(bottom - top),
    }


def _xml(root: ET.Element) -> bytes:
    ET.indent(root)
    return ET.tostring(root, encoding='utf-8', xml_declaration=True)
