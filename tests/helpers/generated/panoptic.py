"""Layouts of panoptic data sets for :func:`generated.write_dataset`.

Shapes of things are divided into two instances where they are wide enough, and in every other picture one of them is a
crowd, so that all rules of the format occur.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from denseclip.clip.things import things_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.converters.cityscapes import SCORED
from denseclip.datasets.miniworld.writer import write_miniworld
from denseclip.datasets.panoptic_names import COCO_PANOPTIC_IDS
from denseclip.structures.panoptic import ids_to_rgb
from generated.writing import IGNORED, Request, Scene, register_layout

_SPLITS = ('train', 'val')


@dataclass(frozen=True)
class _Files:
    """Where the files of a split lie; ``{}`` stands for the number of the picture.

    Attributes:
        image: Pictures.
        png: Their panoptic maps.
        json: The annotation file.
        image_id: Ids of the pictures where they are no numbers.
    """

    image: str
    png: str
    json: str
    image_id: str = ''


def draw_segments(scene: Scene, is_thing: list[bool], *, with_crowd: bool) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Divide a scene into segments.

    Args:
        scene: Picture and label map.
        is_thing: Whether each class is countable.
        with_crowd: Make the last instance a crowd.

    Returns:
        Segment ids int64 (H, W), 0 = void, and ``id``, ``label``, ``iscrowd``, ``area``, ``bbox`` of each segment.
    """
    ids = np.zeros(scene.labels.shape, dtype=np.int64)
    segments: list[dict[str, Any]] = []
    for label in (int(v) for v in np.unique(scene.labels[scene.labels != IGNORED])):
        where = scene.labels == label
        columns = np.flatnonzero(where.any(axis=0))
        middle = int(columns.mean()) + 1
        halves = [where.copy(), where.copy()]
        halves[0][:, middle:] = False
        halves[1][:, :middle] = False
        divide = is_thing[label] and len(columns) > 8
        for mask in halves if divide else [where]:
            if mask.any():
                number = 1 + len(segments) * 7 + 256 * label  # ids of the real sets need more than one byte
                ids[mask] = number
                segments.append({'id': number, 'label': label, 'iscrowd': 0, **_extent(mask)})
    things = [s for s in segments if is_thing[s['label']]]
    if with_crowd and things:
        things[-1]['iscrowd'] = 1
    return ids, segments


@register_layout('coco_panoptic', dataset_types=('COCOPanopticSegments',), num_classes=133, size=(96, 128))
def _write_coco_panoptic(request: Request) -> None:
    """COCO 2017: pictures, ``annotations/panoptic_*.json`` and folders of PNGs."""
    categories = dict(zip(COCO_PANOPTIC_IDS, Vocabulary.named('coco_panoptic').names, strict=True))
    for split in _SPLITS:
        folder = f'{split}2017'
        files = _Files(
            f'{folder}/{{:012d}}.jpg',
            f'annotations/panoptic_{folder}/{{:012d}}.png',
            f'annotations/panoptic_{folder}.json',
        )
        _write_split(request, split, categories, [k < 80 for k in range(133)], files)


@register_layout('ade20k_panoptic', dataset_types=('ADE20KPanopticSegments',), num_classes=150, size=(96, 128))
def _write_ade20k_panoptic(request: Request) -> None:
    """ADEChallengeData2016 with the panoptic files that the converter makes."""
    names, things = Vocabulary.named('ade20k').names, set(things_of('ade20k'))
    for split, folder in zip(_SPLITS, ('training', 'validation'), strict=True):
        files = _Files(
            f'images/{folder}/ADE_{split}_{{:08d}}.jpg',
            f'ade20k_panoptic_{split}/ADE_{split}_{{:08d}}.png',
            f'ade20k_panoptic_{split}.json',
        )
        _write_split(request, split, dict(enumerate(names)), [name in things for name in names], files)


@register_layout('cityscapes_panoptic', dataset_types=('CityscapesPanopticSegments',), num_classes=19, size=(64, 128))
def _write_cityscapes_panoptic(request: Request) -> None:
    """Cityscapes: a folder of pictures for each city, one folder of panoptic PNGs for each split."""
    names, things = Vocabulary.named('cityscapes').names, set(things_of('cityscapes'))
    categories = dict(zip(SCORED, names, strict=True))
    for split, city in zip(_SPLITS, ('aachen', 'frankfurt'), strict=True):
        name = f'{city}_{{:06d}}_000019'
        files = _Files(
            f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png',
            f'gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png',
            f'gtFine/cityscapes_panoptic_{split}.json',
            image_id=name,
        )
        _write_split(request, split, categories, [name in things for name in names], files)


@register_layout('miniworld_panoptic', dataset_types=('MiniworldPanopticSegments',), num_classes=32, size=(64, 64))
def _write_miniworld_panoptic(request: Request) -> None:
    write_miniworld(
        'coco',
        request.root,
        count=request.num_train,
        val_count=request.num_val,
        seed=request.seed,
        size=request.size,
    )


def _write_split(request: Request, split: str, categories: dict[int, str], is_thing: list[bool], files: _Files) -> None:
    """Pictures, PNGs and the JSON file of a split."""
    category_ids = list(categories)
    images, annotations = [], []
    for number, scene in enumerate(_scenes(request, split), start=1):
        ids, segments = draw_segments(scene, is_thing, with_crowd=number % 2 == 0)
        image, png = files.image.format(number), files.png.format(number)
        image_id = files.image_id.format(number) if files.image_id else number
        height, width = ids.shape
        images.append({'id': image_id, 'file_name': Path(image).name, 'height': height, 'width': width})
        listed = [{'category_id': category_ids[s.pop('label')], **s} for s in segments]
        annotations.append({'image_id': image_id, 'file_name': Path(png).name, 'segments_info': listed})
        _save(scene.image, request.root / image)
        _save(ids_to_rgb(ids), request.root / png)
    content = {
        'images': images,
        'annotations': annotations,
        'categories': [
            {'id': k, 'name': name, 'isthing': int(thing), 'supercategory': 'thing' if thing else 'stuff'}
            for (k, name), thing in zip(categories.items(), is_thing, strict=True)
        ],
    }
    (request.root / files.json).write_text(json.dumps(content), encoding='utf-8')


def _scenes(request: Request, split: str) -> Iterator[Scene]:
    return request.scenes(split, request.num_train if split == 'train' else request.num_val)


def _extent(mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {'area': int(mask.sum()), 'bbox': [int(v) for v in box]}


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, quality=95)
