"""Pictures and what was found in them as CVAT's own XML, "CVAT for images 1.1"."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np

from denseclip.apis.results.base import Region
from denseclip.apis.results.sheets import Sheet
from denseclip.structures.outlines import has_holes, outlines

_NO_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
"""Characters that no XML can hold."""


def cvat_xml(sheets: Sequence[Sheet], names: Sequence[str], tolerance: float = 0.0) -> bytes:
    """The file that CVAT imports.

    Boxes are boxes, areas with holes masks, and others polygons; parts of one object share a ``group_id``.

    Args:
        sheets: The pictures.
        names: Of the classes, in the order of their labels.
        tolerance: How far polygons may run from the edges of pixels.
    """
    root = ET.Element('annotations')
    ET.SubElement(root, 'version').text = '1.1'
    about = ET.SubElement(root, 'meta')
    subsets = dict.fromkeys(sheet.split for sheet in sheets if sheet.split)
    part = ET.SubElement(about, 'project' if subsets else 'task')
    if subsets:  # readers look for them here, and skip pictures of others
        tasks = ET.SubElement(part, 'tasks')
        for subset in subsets:
            ET.SubElement(ET.SubElement(tasks, 'task'), 'subset').text = subset
    labels = ET.SubElement(part, 'labels')
    names = [_text(name) for name in names]
    for name in names:
        label = ET.SubElement(labels, 'label')
        ET.SubElement(label, 'name').text = name
        ET.SubElement(label, 'attributes')
    for number, sheet in enumerate(sheets):
        height, width = sheet.size
        said = {'id': str(number), 'name': _text(sheet.file), 'width': str(width), 'height': str(height)}
        image = ET.SubElement(root, 'image', said | ({'subset': sheet.split} if sheet.split else {}))
        for group, region in enumerate(sheet.find(), start=1):
            _shapes(image, region, names[region.label], group, tolerance)
    ET.indent(root)
    return ET.tostring(root, encoding='utf-8', xml_declaration=True)


def _text(words: str) -> str:
    return _NO_XML.sub(lambda found: found[0].encode('unicode_escape').decode('ascii'), words)


def _shapes(image: ET.Element, region: Region, name: str, group: int, tolerance: float) -> None:
    common = {'label': name, 'source': 'auto', 'occluded': '0', 'z_order': '0'}
    if region.mask is None:
        sides = zip(('xtl', 'ytl', 'xbr', 'ybr'), region.box, strict=True)
        ET.SubElement(image, 'box', common | {key: f'{value:.2f}' for key, value in sides})
    elif has_holes(region.mask):
        ET.SubElement(image, 'mask', common | _mask(region.mask))
    else:
        polygons = outlines(region.mask, tolerance)
        together = {'group_id': str(group)} if len(polygons) > 1 else {}
        for polygon in polygons:
            points = ';'.join(f'{x:g},{y:g}' for x, y in polygon)
            ET.SubElement(image, 'polygon', common | together | {'points': points})


def _mask(mask: np.ndarray) -> dict[str, str]:
    """Run lengths, background first, row by row in the box of the mask."""
    left, top, right, bottom = map(math.floor, Region.of_mask(0, '', mask).box)
    flat = mask[top:bottom, left:right].ravel()
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
