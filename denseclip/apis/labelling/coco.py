"""Labels in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Record, Run
from denseclip.structures.outlines import has_holes, outlines


def of_picture(record: Record, run: Run) -> Iterator[tuple[str, str]]:
    """Nothing: all pictures share a file."""
    del record, run
    yield from ()


def of_set(records: Sequence[Record], run: Run) -> Iterator[tuple[str, str]]:
    """An annotation file, or one for each split."""
    for split in sorted({record.split for record in records}):
        part = [record for record in records if record.split == split]
        name = f'instances_{split}' if split else 'instances'
        yield f'annotations/{name}.json', json.dumps(content(part, run))


def content(
    records: Sequence[Record], run: Run, name: Callable[[Record], str] = lambda record: record.file
) -> dict[str, Any]:
    """``images``, ``annotations`` and ``categories``; the id of a category is its label + 1.

    Args:
        records: The pictures.
        run: How the labelled folder was begun.
        name: What the file calls a picture.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        height, width = record.size
        images.append({'id': number, 'file_name': name(record), 'width': width, 'height': height})
        for entry in record.objects:
            if entry.label < len(run.names):
                found = annotation(entry, run.tolerance)
                annotations.append({'id': len(annotations) + 1, 'image_id': number, **found})
    categories = [{'id': label, 'name': name, 'supercategory': ''} for label, name in enumerate(run.names, start=1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def annotation(entry: LabelObject, tolerance: float) -> dict[str, Any]:
    """An object without its own number and its picture's.

    No object is a crowd: training and scores would leave it out.
    """
    x1, y1, x2, y2 = entry.box
    found: dict[str, Any] = {
        'category_id': entry.label + 1,
        'bbox': [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        'area': round(entry.area, 2),
        'iscrowd': 0,
    }
    if entry.code is not None:
        mask = entry.mask if tolerance > 0 else None
        exact = mask is None or has_holes(mask)
        polygons = [] if mask is None or exact else outlines(mask, tolerance)
        found['segmentation'] = entry.code if exact else [polygon.ravel().tolist() for polygon in polygons]
    return found | ({} if entry.score is None else {'score': entry.score})
