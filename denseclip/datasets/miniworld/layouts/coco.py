"""COCO 2017: instances, panoptic segmentation, captions and stuff maps of the same pictures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from denseclip.structures.run_lengths import run_lengths_of_each

from ..grammar import captions
from ..kinds import CLASSES, NUM_THINGS, palette
from ..scenes import Scene
from .base import Job, Layout, Request, save_image, save_text
from .semantic import RAW_IDS, coco_id, coco_image_id

CAPTIONS_PER_PICTURE = 5


class COCO(Layout):
    """``train2017/``, ``val2017/`` and ``annotations/`` with instances (masks as RLE), panoptic PNGs and captions."""

    name = 'coco'
    about = 'COCO 2017: pictures, annotations/{instances,panoptic,captions}_*.json, panoptic PNGs, stuffthingmaps/'

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._images: dict[str, list[dict[str, Any]]] = {'train': [], 'val': []}
        self._instances: dict[str, list[dict[str, Any]]] = {'train': [], 'val': []}
        self._segments: dict[str, list[dict[str, Any]]] = {'train': [], 'val': []}
        self._captions: dict[str, list[dict[str, Any]]] = {'train': [], 'val': []}

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, rng = self.scene(job)
        image_id, folder = coco_image_id(job), f'{job.split}2017'
        name = f'{image_id:012d}'
        save_image(scene.image, self.root / folder / f'{name}.jpg')
        save_image(RAW_IDS[scene.labels], self.root / 'stuffthingmaps' / folder / f'{name}.png')
        segments = segment_map(scene)
        colours = np.stack([segments & 255, (segments >> 8) & 255, segments >> 16], axis=-1).astype(np.uint8)
        save_image(colours, self.root / 'annotations' / f'panoptic_{folder}' / f'{name}.png')
        height, width = scene.labels.shape
        self._images[job.split].append({'id': image_id, 'file_name': f'{name}.jpg', 'height': height, 'width': width})
        self._instances[job.split] += self._masks(scene, image_id)
        self._segments[job.split].append(
            {'image_id': image_id, 'file_name': f'{name}.png', 'segments_info': segments_info(scene, segments)}
        )
        texts = captions(rng, scene, CAPTIONS_PER_PICTURE)
        first = image_id * CAPTIONS_PER_PICTURE
        self._captions[job.split] += [
            {'id': first + k, 'image_id': image_id, 'caption': text} for k, text in enumerate(texts)
        ]

    def _masks(self, scene: Scene, image_id: int) -> list[dict[str, Any]]:
        """Instance annotations; run-length codes, since rings and mugs have holes, which polygons cannot say."""
        numbers = np.arange(1, len(scene.items) + 1)
        codes = run_lengths_of_each(scene.instances == numbers[:, None, None])
        return [
            {
                'id': image_id * 256 + k,
                'image_id': image_id,
                'category_id': coco_id(item.label),
                'segmentation': code,
                'area': item.area,
                'bbox': list(item.box),
                'iscrowd': 0,
            }
            for k, (item, code) in enumerate(zip(scene.items, codes, strict=True))
        ]

    def finish(self) -> None:
        """The annotation files."""
        things = categories(NUM_THINGS)
        for split, images in self._images.items():
            files = {
                'instances': {'images': images, 'annotations': self._instances[split], 'categories': things},
                'panoptic': {'images': images, 'annotations': self._segments[split], 'categories': categories()},
                'captions': {'images': images, 'annotations': self._captions[split]},
            }
            for kind, content in files.items():
                about = {'info': {'description': f'miniworld {kind}', 'version': '1.0'}, 'licenses': []}
                save_text(json.dumps({**about, **content}), self.root / 'annotations' / f'{kind}_{split}2017.json')


def categories(count: int = len(CLASSES)) -> list[dict[str, Any]]:
    """The first ``count`` classes under COCO's ids, with what its panoptic files say of each."""
    colours = palette()
    return [
        {
            'id': coco_id(label),
            'name': CLASSES[label],
            'supercategory': 'thing' if label < NUM_THINGS else 'stuff',
            'isthing': int(label < NUM_THINGS),
            'color': colours[label],
        }
        for label in range(count)
    ]


def segment_map(scene: Scene) -> np.ndarray:
    """Panoptic ids: things count from 1; a kind of stuff has 1000 plus its label. 0, void, never occurs."""
    return np.where(scene.instances > 0, scene.instances.astype(np.int64), 1000 + scene.labels.astype(np.int64))


def segments_info(scene: Scene, segments: np.ndarray) -> list[dict[str, Any]]:
    """COCO's entries for the segments of a map: category, area and box of each."""
    found = [
        {'id': k + 1, 'category_id': coco_id(item.label), 'area': item.area, 'bbox': list(item.box), 'iscrowd': 0}
        for k, item in enumerate(scene.items)
    ]
    for label in scene.stuff:
        where = segments == 1000 + label
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        found.append(
            {
                'id': 1000 + label,
                'category_id': coco_id(label),
                'area': int(where.sum()),
                'bbox': [int(v) for v in box],
                'iscrowd': 0,
            }
        )
    return found
