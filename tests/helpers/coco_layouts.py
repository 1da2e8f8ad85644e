"""Drawn data sets in COCO's format: categories in any order, with gaps, from 0, with parents, parts of the classes."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS
from PIL import Image

from denseclip.datasets.coco_objects import encode_mask

NAMES = ('cat', 'a red block', 'Übergröße', 'dog_big', '犬', 'x')
SIZE = (64, 48)
MASKS = Path(__file__).parents[2] / 'configs/denseclip/denseclip_mask-rcnn_clip-r50_fpn_1x_coco-1333x800.py'
"""A base that trains masks."""


@dataclass(frozen=True)
class Drawn:
    """A data set as it was drawn: files by name in the folder, and what is in each picture.

    Attributes:
        files: Content of annotation files, by their path in the folder.
        truth: Names and corners of the objects of a picture, by file name.
    """

    files: dict[str, dict[str, Any]]
    truth: dict[str, set[tuple[str, tuple[float, ...]]]]

    def write(self, root: Path) -> Path:
        """Annotation files and pictures; the pictures are noise."""
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), np.uint8))
        (root / 'images').mkdir(parents=True)
        for path, content in self.files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
            for image in content['images']:
                picture.save(root / 'images' / image['file_name'])
        return root


@st.composite
def layouts(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> Drawn:
    """Data sets with a file for training and one for validation (sometimes one for tests), each drawn by itself.

    Training has an object of each class, sometimes in two files with parts of the classes; in the others anything may
    be missing.
    """
    classes = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    files, truth = {}, {}
    parts = {'train': classes}
    if draw(st.booleans()):
        parts = {'train_a': classes[: draw(st.integers(1, len(classes)))], 'train_b': draw(st.permutations(classes))}
    for split in ('val', *draw(st.sampled_from([(), ('test',)]))):
        parts[split] = draw(st.lists(st.sampled_from(classes), min_size=1, unique=True))
    for split, part in parts.items():
        content, found = draw(_file(split, part, classes, every=split.startswith('train')))
        files[f'annotations/instances_{split}.json'] = content
        truth |= found
    return Drawn(files, truth)


@st.composite
def _file(draw: st.DrawFn, split: str, part: list[str], classes: list[str], every: bool) -> tuple[Any, Any]:
    listed = draw(st.permutations(part if draw(st.booleans()) else classes))
    ids = draw(st.lists(st.integers(0, 30), min_size=len(listed) + 1, max_size=len(listed) + 1, unique=True))
    categories = [{'id': cat_id, 'name': name} for name, cat_id in zip(listed, ids, strict=False)]
    number = {entry['name']: entry['id'] for entry in categories}
    if draw(st.booleans()):  # the project, as Roboflow lists it: often called as one of its classes
        parent = {'id': ids[-1], 'name': draw(st.sampled_from(['everything', listed[0]])), 'supercategory': 'none'}
        categories.insert(draw(st.integers(0, len(categories))), parent)
    objects = list(part) if every else []
    objects += draw(st.lists(st.sampled_from(part), min_size=0 if every else 1, max_size=6))
    images: list[dict[str, Any]] = []
    truth: dict[str, Any] = {}
    for image_id in draw(st.permutations(range(draw(st.sampled_from([0, 1, 70])), 73))):
        if len(images) == 3:
            break
        entry = {'id': image_id, 'file_name': f'{split} {image_id}.png', 'width': SIZE[0], 'height': SIZE[1]}
        images.append(entry)
        truth[entry['file_name']] = set()
    annotations = []
    for place, name in enumerate(objects, start=1):
        image = images[draw(st.integers(0, len(images) - 1))]
        x, y = draw(st.integers(0, 50)), draw(st.integers(0, 30))
        w, h = draw(st.integers(2, SIZE[0] - x)), draw(st.integers(2, SIZE[1] - y))
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotations.append(
            {'id': place, 'image_id': image['id'], 'category_id': number[name], 'bbox': [x, y, w, h], 'area': w * h}
            | {'iscrowd': 0, 'segmentation': [corners]}
        )
        truth[image['file_name']].add((name, (x, y, x + w, y + h)))
    return {'images': images, 'annotations': annotations, 'categories': categories}, truth


def content(order: list[int], ids: tuple[int, ...] = (1, 2, 3), names: str = 'abc') -> dict[str, Any]:
    """Two pictures with a box of each of three categories, listed in ``order``."""
    boxes = [[1, 1, 20, 10], [5, 8, 30, 30], [20, 2, 9, 40]]
    annotations = [
        {'id': 3 * picture + k + 1, 'image_id': picture, 'category_id': ids[k], 'bbox': box, 'area': box[2] * box[3]}
        | {'iscrowd': 0}
        for picture in (0, 1)
        for k, box in enumerate(boxes)
    ]
    images = [{'id': k, 'file_name': f'{names}{k}.png', 'width': 64, 'height': 48} for k in (0, 1)]
    return {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': ids[k], 'name': names[k]} for k in order],
    }


def scores(config: Config, split: str) -> dict[str, float]:
    """The truth as predictions, with nothing of the audit."""
    dataset = DATASETS.build({**config[f'{split}_dataloader'].dataset, 'pipeline': [], 'serialize_data': False})
    metric = METRICS.build(config[f'{split}_evaluator'])
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        found = [o for o in info['instances'] if not o['ignore_flag']]
        prediction = {
            'bboxes': torch.tensor([o['bbox'] for o in found], dtype=torch.float32).reshape(-1, 4),
            'labels': torch.tensor([o['bbox_label'] for o in found], dtype=torch.int64),
            'scores': torch.ones(len(found)),
            'masks': [encode_mask(o['mask'], info['width'], info['height']) if 'mask' in o else None for o in found],
        }
        if 'segm' not in metric.metrics:
            del prediction['masks']
        size = (info['height'], info['width'])
        metric.process({}, [{'img_id': info['img_id'], 'ori_shape': size, 'pred_instances': prediction}])
    with contextlib.redirect_stdout(io.StringIO()):
        return metric.evaluate(len(dataset))
