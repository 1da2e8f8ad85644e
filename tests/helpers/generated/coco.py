"""COCO's layout of object instances for :func:`generated.write_dataset`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from denseclip.clip.vocabulary import Vocabulary
from generated.writing import Request, Scene, register_layout

_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""COCO's category ids run from 1 to 90 and leave these out."""

SMALLEST = 16
"""Fewest visible pixels of an object that is annotated."""


@register_layout('coco', dataset_types=('CocoDataset', 'NamedCocoDataset'), num_classes=80, size=(96, 128))
def _write_coco(request: Request) -> None:
    """Boxes, polygons, and in every other picture one crowd region as uncompressed run lengths."""
    ids = [i for i in range(1, 91) if i not in _UNUSED_IDS]
    names = Vocabulary.of('coco').names
    _write_instances(request, dict(zip(ids, names, strict=True)), {'train': 'train2017', 'val': 'val2017'})


@register_layout('bccd', dataset_types=('BCCDDataset',), num_classes=3, size=(96, 128))
def _write_bccd(request: Request) -> None:
    """BCCD after conversion, with more shapes than the real set's boxes have: polygons."""
    classes = dict(enumerate(('red blood cell', 'white blood cell', 'platelets'), start=1))
    _write_instances(request, classes, {'train': 'train', 'val': 'val', 'test': 'test'})


def _write_instances(request: Request, classes: dict[int, str], folders: dict[str, str]) -> None:
    """Pictures and ``annotations/instances_FOLDER.json`` of every split."""
    ids = list(classes)[: request.num_classes]
    categories = [{'id': i, 'name': classes[i], 'supercategory': 'object'} for i in ids]
    for place, (split, folder) in enumerate(folders.items()):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, scene in enumerate(request.scenes(split, request.num_val if place else request.num_train)):
            number = index + 1 + place * 100_000
            path = request.root / folder / f'{number:012d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(path, quality=95)
            height, width = scene.labels.shape
            images.append({'id': number, 'file_name': path.name, 'height': height, 'width': width})
            for entry in _objects(scene, ids, index):
                annotations.append({'id': len(annotations) + 1, 'image_id': number, **entry})
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        _write_json(content, request.root / 'annotations' / f'instances_{folder}.json')


def _objects(scene: Scene, ids: list[int], index: int) -> Iterator[dict[str, Any]]:
    """Annotations of the shapes in a picture; its ground, the class of most pixels, is no object."""
    values, counts = np.unique(scene.labels[scene.labels < len(ids)], return_counts=True)
    ground = values[counts.argmax()]
    shapes = [v for v, n in zip(values, counts, strict=True) if v != ground and n >= SMALLEST]
    for place, class_id in enumerate(shapes):
        mask = scene.labels == class_id
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top = int(cols[0]), int(rows[0])
        crowd = index % 2 == 1 and place == len(shapes) - 1
        yield {
            'category_id': ids[class_id],
            'bbox': [left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            'area': int(mask.sum()),
            'iscrowd': int(crowd),
            'segmentation': _run_lengths(mask) if crowd else _polygons(mask),
        }


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """Outlines of a mask's parts, ``x1, y1, x2, y2 ...`` each."""
    # Outlines run through the centres of pixels: at twice the size they lose a quarter pixel, not half of one.
    double: np.ndarray = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    outlines, _ = cv2.findContours(double, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((outline.reshape(-1) + 0.5) / 2).tolist() for outline in outlines]


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run lengths: columns one after another, beginning with the number of zeros."""
    flat = np.concatenate([[False], mask.flatten(order='F'), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {'size': list(mask.shape), 'counts': np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()}


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')
