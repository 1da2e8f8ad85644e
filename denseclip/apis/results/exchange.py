"""Results in the forms of other tools: dictionaries, COCO, labelme."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from denseclip.apis.results.base import Region, Result
from denseclip.apis.results.sheets import Place, base64_png, picture_path
from denseclip.structures.outlines import has_holes, outlines
from denseclip.structures.run_lengths import run_lengths

LABELME = '5.5.0'
"""Version of labelme whose files these are."""


def dictionary(result: Result) -> dict[str, Any]:
    """See :meth:`Result.to_dict`."""
    height, width = result.image.shape[:2]
    return {
        'kind': result.kind,
        'source': _source(result),
        'width': width,
        'height': height,
        'classes': list(result.names),
        'objects': [_entry(region, result.names) for region in result.regions()],
    }


def _entry(region: Region, names: tuple[str, ...]) -> dict[str, Any]:
    entry: dict[str, Any] = {'class': names[region.label], 'label': region.label}
    if region.title != names[region.label]:
        entry['title'] = region.title
    entry['box'] = [round(value, 2) for value in region.box]
    entry['area'] = round(region.area, 2)
    if region.score is not None:
        entry['score'] = round(region.score, 6)
    if region.is_thing is not None:
        entry['is_thing'] = region.is_thing
    if region.mask is not None:
        entry['mask'] = run_lengths(region.mask)
    return entry


def coco_data(result: Result, polygons: bool = False, name: str | None = None) -> dict[str, Any]:
    """See :meth:`Result.to_coco`."""
    height, width = result.image.shape[:2]
    image = {'id': 1, 'file_name': name or _source(result) or f'{result.stem}.png', 'width': width, 'height': height}
    things: dict[int, int] = {}
    annotations = []
    for number, region in enumerate(result.regions(), start=1):
        x1, y1, x2, y2 = region.box
        entry: dict[str, Any] = {
            'id': number,
            'image_id': 1,
            'category_id': region.label + 1,
            'bbox': [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
            'area': round(region.area, 2),
            'iscrowd': 0,
        }
        if region.score is not None:
            entry['score'] = round(region.score, 6)
        if region.mask is not None:
            exact = polygons and not has_holes(region.mask)
            entry['segmentation'] = _flat(outlines(region.mask)) if exact else run_lengths(region.mask)
        if region.is_thing is not None:
            things[region.label] = int(region.is_thing)
        annotations.append(entry)
    categories = [
        {'id': label + 1, 'name': name, 'supercategory': ''} | ({'isthing': things[label]} if label in things else {})
        for label, name in enumerate(result.names)
    ]
    return {'images': [image], 'annotations': annotations, 'categories': categories}


def _flat(polygons: list[np.ndarray]) -> list[list[float]]:
    return [polygon.ravel().tolist() for polygon in polygons]


def labelme_data(result: Result, place: Place | None = None, tolerance: float = 1.0) -> dict[str, Any]:
    """See :meth:`Result.to_labelme`."""
    height, width = result.image.shape[:2]
    shapes = [
        shape
        for number, region in enumerate(result.regions(), start=1)
        for shape in labelme_shapes(region, result.names[region.label], number, tolerance)
    ]
    return {
        'version': LABELME,
        'flags': {},
        'shapes': shapes,
        'imagePath': picture_path(result, place),
        'imageData': base64_png(result.image) if result.source is None else None,
        'imageHeight': height,
        'imageWidth': width,
    }


def labelme_shapes(region: Region, name: str, group: int, tolerance: float) -> Iterator[dict[str, Any]]:
    """Shapes of an object.

    Args:
        region: The object.
        name: Of its class.
        group: Number that its parts share, if it has several.
        tolerance: How far polygons may run from the edges of pixels.
    """
    said = '' if region.score is None else f'score {region.score:.3f}'
    common = {'label': name, 'description': said, 'flags': {}}
    if region.mask is None:
        x1, y1, x2, y2 = region.box
        corners = [[x1, y1], [x2, y2]]
        yield {**common, 'points': corners, 'group_id': None, 'shape_type': 'rectangle', 'mask': None}
    elif has_holes(region.mask):
        x1, y1, x2, y2 = (int(value) for value in Region.of_mask(0, '', region.mask).box)
        part = base64_png(region.mask[y1:y2, x1:x2].astype(np.uint8) * np.uint8(255))
        corners = [[x1, y1], [x2 - 1, y2 - 1]]  # labelme counts the last pixel in
        yield {**common, 'points': corners, 'group_id': None, 'shape_type': 'mask', 'mask': part}
    else:
        polygons = outlines(region.mask, tolerance)
        for polygon in polygons:
            together = group if len(polygons) > 1 else None
            yield {
                **common,
                'points': polygon.tolist(),
                'group_id': together,
                'shape_type': 'polygon',
                'mask': None,
            }


def _source(result: Result) -> str | None:
    from denseclip.files.names import readable

    return None if result.source is None else readable(result.source)
