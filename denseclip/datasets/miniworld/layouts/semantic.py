"""Label maps: the layouts of ADE20K, COCO-Stuff 164k, Pascal VOC 2012, Pascal Context and Cityscapes."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from ..kinds import CLASSES, NUM_THINGS
from ..scenes import Item, Scene
from .base import Job, Layout, Request, save_image, save_palette, save_text, table

COCO_THING_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""COCO's ids of its 80 things; ours take the first of them."""
COCO_STUFF_START = 92
"""COCO's first id of stuff."""


class ADE20K(Layout):
    """ADEChallengeData2016: jpg pictures, png label maps with 0 = no class and ids from 1."""

    name = 'ade20k'
    about = 'ADEChallengeData2016: images/, annotations/ (ids from 1, 0 = no class)'

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, _ = self.scene(job)
        folder, prefix = ('training', 'train') if job.split == 'train' else ('validation', 'val')
        name = f'ADE_{prefix}_{job.index + 1:08d}'
        save_image(scene.image, self.root / 'images' / folder / f'{name}.jpg')
        save_image(scene.labels + np.uint8(1), self.root / 'annotations' / folder / f'{name}.png')


class COCOStuff(Layout):
    """COCO-Stuff 164k as mmseg's converter leaves it: raw ids, ``_labelTrainIds`` and ``_instanceTrainIds``."""

    name = 'coco_stuff'
    about = 'COCO-Stuff 164k: images/, annotations/ (raw, _labelTrainIds, _instanceTrainIds)'

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, _ = self.scene(job)
        folder, name = f'{job.split}2017', f'{coco_image_id(job):012d}'
        annotations = self.root / 'annotations' / folder
        save_image(scene.image, self.root / 'images' / folder / f'{name}.jpg')
        save_image(RAW_IDS[scene.labels], annotations / f'{name}.png')
        save_image(_TRAIN[scene.labels], annotations / f'{name}_labelTrainIds.png')
        save_image(_OBJECT[scene.labels], annotations / f'{name}_instanceTrainIds.png')


def coco_id(label: int) -> int:
    """COCO's category id of a world label: of a thing or of stuff."""
    return COCO_THING_IDS[label] if label < NUM_THINGS else COCO_STUFF_START + label - NUM_THINGS


def coco_image_id(job: Job) -> int:
    """Id of a picture; those of the splits differ."""
    return job.index + 1 + (500000 if job.split == 'val' else 0)


# The files' raw values are COCO's ids minus one; training ids run over 80 things and then 91 kinds of stuff.
RAW_IDS = table({k: coco_id(k) - 1 for k in range(len(CLASSES))}, 255).astype(np.uint8)
_TRAIN = table({k: k if k < NUM_THINGS else 80 + k - NUM_THINGS for k in range(len(CLASSES))}, 255).astype(np.uint8)
_OBJECT = table({k: k + 1 for k in range(NUM_THINGS)}, 0).astype(np.uint8)


class _Pascal(Layout):
    """What both Pascal layouts share: jpg pictures in one folder and lists of names."""

    lists: ClassVar[str]

    def stem(self, job: Job) -> str:
        return f'{2007 if job.split == "train" else 2008}_{job.index + 1:06d}'

    def finish(self) -> None:
        names = {split: [self.stem(j) for j in self.jobs() if j.split == split] for split in ('train', 'val')}
        for split, stems in (*names.items(), ('trainval', names['train'] + names['val'])):
            save_text(''.join(f'{stem}\n' for stem in stems), self.root / 'ImageSets' / self.lists / f'{split}.txt')


class VOC(_Pascal):
    """VOC2012: 20 objects, 0 = background (all stuff), 255 = borders; indexed png files; boxes as XML."""

    name = 'voc'
    about = 'VOC2012: JPEGImages/, SegmentationClass/, SegmentationObject/, Annotations/ (boxes), ImageSets/'
    lists = 'Segmentation'

    @property
    def classes(self) -> list[str]:
        """Background first, as in mmseg."""
        return ['background', *CLASSES[:NUM_THINGS]]

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, _ = self.scene(job)
        stem = self.stem(job)
        save_image(scene.image, self.root / 'JPEGImages' / f'{stem}.jpg')
        border = borders(scene.instances)
        objects = np.where(border, 255, scene.instances)
        save_palette(objects, self.root / 'SegmentationObject' / f'{stem}.png', VOC_PALETTE)
        classes = np.where(border, 255, _OBJECT[scene.labels])
        save_palette(classes, self.root / 'SegmentationClass' / f'{stem}.png', VOC_PALETTE)
        path = self.root / 'Annotations' / f'{stem}.xml'
        if not path.exists():
            save_text(voc_xml(stem, scene), path)

    def finish(self) -> None:
        """Lists for segmentation and, with the same pictures, for detection."""
        super().finish()
        for split in ('train', 'val', 'trainval'):
            text = (self.root / 'ImageSets' / 'Segmentation' / f'{split}.txt').read_text(encoding='utf-8')
            save_text(text, self.root / 'ImageSets' / 'Main' / f'{split}.txt')


class PascalContext(_Pascal):
    """VOC2010 with Pascal Context: label maps with 0 = background and ids from 1."""

    name = 'context'
    about = 'Pascal Context (VOC2010): JPEGImages/, SegmentationClassContext/, ImageSets/SegmentationContext/'
    lists = 'SegmentationContext'

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, _ = self.scene(job)
        stem = self.stem(job)
        save_image(scene.image, self.root / 'JPEGImages' / f'{stem}.jpg')
        save_image(scene.labels + np.uint8(1), self.root / 'SegmentationClassContext' / f'{stem}.png')


# Cityscapes' ids of its 19 training classes, in the order of their training ids; the last eight are things.
_CITY_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITY_STUFF = 11


class Cityscapes(Layout):
    """leftImg8bit and gtFine: training ids, ids, and instances (id × 1000 + number for things)."""

    name = 'cityscapes'
    about = 'Cityscapes: leftImg8bit/, gtFine/ (labelTrainIds, labelIds, instanceIds)'
    size = (128, 256)
    labels = (*range(NUM_THINGS, NUM_THINGS + _CITY_STUFF), *range(19 - _CITY_STUFF))

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._train = table({label: k for k, label in enumerate(self.labels)}, 255).astype(np.uint8)
        self._ids = table({label: _CITY_IDS[k] for k, label in enumerate(self.labels)}, 0)

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        scene, _ = self.scene(job)
        stem = f'miniworld_{job.index:06d}_000019'
        save_image(scene.image, self.root / 'leftImg8bit' / job.split / 'miniworld' / f'{stem}_leftImg8bit.png')
        truth = self.root / 'gtFine' / job.split / 'miniworld'
        ids = self._ids[scene.labels]
        numbers = np.array([0, *number_within_kind(scene.items)])[scene.instances]
        save_image(self._train[scene.labels], truth / f'{stem}_gtFine_labelTrainIds.png')
        save_image(ids.astype(np.uint8), truth / f'{stem}_gtFine_labelIds.png')
        instances = np.where(scene.instances > 0, ids * 1000 + numbers, ids)
        save_image(instances.astype(np.uint16), truth / f'{stem}_gtFine_instanceIds.png')


def number_within_kind(items: tuple[Item, ...]) -> list[int]:
    """For each thing, how many of its kind came before it."""
    seen: dict[int, int] = {}
    numbers = []
    for item in items:
        numbers.append(seen.get(item.label, 0))
        seen[item.label] = numbers[-1] + 1
    return numbers


def borders(instances: np.ndarray) -> np.ndarray:
    """One-pixel borders between things and their surroundings, bool (H, W)."""
    kernel = np.ones((2, 2), np.uint8)
    return cv2.dilate(instances, kernel) != cv2.erode(instances, kernel)


def voc_xml(stem: str, scene: Scene) -> str:
    """Boxes in VOC's form: corners count from 1, both inclusive."""
    height, width = scene.labels.shape
    objects = ''
    for item in scene.items:
        left, top, w, h = item.box
        cut = int(left == 0 or top == 0 or left + w == width or top + h == height)
        objects += (
            f'<object><name>{CLASSES[item.label]}</name><pose>Unspecified</pose><truncated>{cut}</truncated>'
            f'<difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{left + w}</xmax>'
            f'<ymax>{top + h}</ymax></bndbox></object>'
        )
    return (
        f'<annotation><folder>VOC2012</folder><filename>{stem}.jpg</filename><size><width>{width}</width>'
        f'<height>{height}</height><depth>3</depth></size><segmented>1</segmented>{objects}</annotation>\n'
    )


def _voc_palette() -> np.ndarray:
    """VOC's colour map: bit ``b`` of an id goes to bit ``7 - b // 3`` of channel ``b % 3``."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= (((ids >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


VOC_PALETTE = _voc_palette()
