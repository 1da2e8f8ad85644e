"""Labels as a file for each picture: VOC-XML, labelme's JSON."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Record, Run
from denseclip.apis.results.base import Region
from denseclip.apis.results.exchange import LABELME, labelme_shapes


def known(record: Record, run: Run) -> list[LabelObject]:
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
    for entry in known(record, run):
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
        for entry in known(record, run)
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


def _xml(root: ET.Element) -> bytes:
    ET.indent(root)
    return ET.tostring(root, encoding='utf-8', xml_declaration=True)
