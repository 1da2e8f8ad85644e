"""Pictures and what was found in them as tasks of Label Studio, and the setup of a project for them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from denseclip.apis.results.base import Region
from denseclip.apis.results.sheets import Sheet
from denseclip.structures.brush import encode_brush
from denseclip.structures.outlines import has_holes, outlines
from denseclip.version import __version__

LOCAL_FILES = '/data/local-files/?d='
"""Where Label Studio serves files of this machine, once it is told of their folder."""

_TAGS = {'rectanglelabels': 'RectangleLabels', 'polygonlabels': 'PolygonLabels', 'brushlabels': 'BrushLabels'}


def tasks(sheets: Iterable[Sheet], names: Sequence[str], tolerance: float = 0.0) -> list[dict[str, Any]]:
    """What a project imports: each picture with a prediction to accept or to correct.

    Boxes are rectangles, areas of one piece without holes polygons, and others brushes, so that nothing is lost.

    Args:
        sheets: The pictures.
        names: Of the classes, in the order of their labels.
        tolerance: How far polygons may run from the edges of pixels.
    """
    return [_task(sheet, names, tolerance) for sheet in sheets]


def label_config(names: Sequence[str], palette: np.ndarray | None = None) -> str:
    """The labelling interface of a project.

    Args:
        names: Of the classes.
        palette: RGB of each of them, ``uint8``.
    """
    root = ET.Element('View')
    ET.SubElement(root, 'Image', {'name': 'image', 'value': '$image', 'zoom': 'true'})
    for kind, tag in _TAGS.items():
        group = ET.SubElement(root, tag, {'name': kind, 'toName': 'image'})
        for place, name in enumerate(names):
            colour = {} if palette is None else {'background': '#' + bytes(palette[place].tolist()).hex()}
            ET.SubElement(group, 'Label', {'value': name, **colour})
    ET.indent(root)
    return ET.tostring(root, encoding='unicode') + '\n'


def _task(sheet: Sheet, names: Sequence[str], tolerance: float) -> dict[str, Any]:
    regions = sheet.find()
    found = [_entry(number, region, names, sheet.size, tolerance) for number, region in enumerate(regions, start=1)]
    scores = [region.score for region in regions if region.score is not None]
    prediction: dict[str, Any] = {'model_version': f'denseclip {__version__}', 'result': found}
    prediction |= {'score': round(sum(scores) / len(scores), 6)} if scores else {}
    address = sheet.address or LOCAL_FILES + quote(sheet.file)
    about = {'image': address} | ({'split': sheet.split} if sheet.split else {})
    return {'data': about, 'predictions': [prediction]}


def _entry(
    number: int, region: Region, names: Sequence[str], size: tuple[int, int], tolerance: float
) -> dict[str, Any]:
    height, width = size
    kind, value = _value(region, size, tolerance)
    score = {} if region.score is None else {'score': round(region.score, 6)}
    return {
        'id': f'object-{number}',
        'from_name': kind,
        'to_name': 'image',
        'type': kind,
        'original_width': width,
        'original_height': height,
        'image_rotation': 0,
        'value': {**value, kind: [names[region.label]]},
        **score,
    }


def _value(region: Region, size: tuple[int, int], tolerance: float) -> tuple[str, dict[str, Any]]:
    """Kind and place of a region, in hundredths of the picture's sides."""
    height, width = size
    if region.mask is None:
        x1, y1, x2, y2 = region.box
        sides = {'x': x1 / width, 'y': y1 / height, 'width': (x2 - x1) / width, 'height': (y2 - y1) / height}
        return 'rectanglelabels', {key: 100 * side for key, side in sides.items()} | {'rotation': 0}
    polygons = [] if has_holes(region.mask) else outlines(region.mask, tolerance)
    if len(polygons) == 1:
        points = (polygons[0] * [100 / width, 100 / height]).tolist()
        return 'polygonlabels', {'points': points, 'closed': True}
    return 'brushlabels', {'format': 'rle', 'rle': encode_brush(region.mask)}
