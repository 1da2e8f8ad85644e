"""Layouts of anomaly data sets for ``write_dataset``: turned parts with scratches and dents.

``num_train`` is the number of normal training pictures of a category, ``num_val`` that of normal and of anomalous test
pictures.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from denseclip.visualization.palette import class_colour
from generated.writing import Request, register_layout

DEFECTS = ('scratch', 'dent')
_KINDS = {'train': 1, 'good': 2, 'scratch': 3, 'dent': 4}


@dataclass(frozen=True)
class Part:
    """One drawn picture of a product.

    Attributes:
        image: RGB, uint8, shape (H, W, 3).
        mask: 255 where defective, uint8, shape (H, W).
    """

    image: np.ndarray
    mask: np.ndarray


def draw_part(rng: np.random.Generator, size: tuple[int, int], category: int, defect: str = '') -> Part:
    """Draw a ring-shaped part on a plain ground.

    Args:
        rng: Source of all chance.
        size: Height and width.
        category: Gives colour and number of holes.
        defect: ``'scratch'``, ``'dent'`` or ``''`` for none.
    """
    height, width = size
    side = min(size)
    image: np.ndarray = np.full((height, width, 3), 60.0, dtype=np.float32)
    centre = (width / 2 + rng.uniform(-0.04, 0.04) * side, height / 2 + rng.uniform(-0.04, 0.04) * side)
    _disc(image, centre, 0.38 * side, class_colour(category))
    angle = rng.uniform(0, 2 * np.pi)
    for hole in range(3 + category % 3):
        turn = angle + 2 * np.pi * hole / (3 + category % 3)
        place = (centre[0] + 0.22 * side * np.cos(turn), centre[1] + 0.22 * side * np.sin(turn))
        _disc(image, place, 0.06 * side, np.array([40.0, 40.0, 40.0]))
    mask = np.zeros(size, np.uint8)
    if defect:
        turn, far = rng.uniform(0, 2 * np.pi), 0.15 * side
        start = (centre[0] + far * np.cos(turn), centre[1] + far * np.sin(turn))
        if defect == 'scratch':
            end = (start[0] + 0.25 * side * np.cos(turn + 1), start[1] + 0.25 * side * np.sin(turn + 1))
            cv2.line(mask, _whole(start), _whole(end), 255, max(2, side // 32))
        else:
            cv2.circle(mask, _whole(start), max(2, side // 14), 255, -1)
        image[mask > 0] = (235, 235, 230) if defect == 'scratch' else (15, 10, 10)
    image += rng.normal(0.0, 4.0, size=image.shape)
    return Part(image.clip(0, 255).astype(np.uint8), mask)


def _disc(image: np.ndarray, centre: tuple[float, float], radius: float, colour: np.ndarray) -> None:
    cv2.circle(image, _whole(centre), max(1, round(radius)), tuple(float(c) for c in colour), -1)


def _whole(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


@dataclass(frozen=True)
class _Sample:
    split: str
    defect: str
    index: int
    part: Part


def _samples(request: Request, category: int) -> Iterator[_Sample]:
    """Training pictures, normal test pictures, defective ones with the kinds of defect in turn."""
    plan = [('train', '', request.num_train), ('test', '', request.num_val)]
    plan += [('test', d, len(range(k, request.num_val, len(DEFECTS)))) for k, d in enumerate(DEFECTS)]
    for split, defect, count in plan:
        for index in range(count):
            kind = 'train' if split == 'train' else defect or 'good'
            rng = np.random.default_rng([request.seed, category, _KINDS[kind], index])
            yield _Sample(split, defect, index, draw_part(rng, request.size, category, defect))


@register_layout('mvtec_ad', dataset_types=('MVTecADDataset',), num_classes=2, size=(96, 96))
def _write_mvtec(request: Request) -> None:
    """MVTec AD: png pictures ``000.png`` and masks ``000_mask.png``; one category is grey, as some real ones are."""
    for number, category in enumerate(('metal_nut', 'grid')):
        root = request.root / category
        for sample in _samples(request, number):
            folder, name = sample.defect or 'good', f'{sample.index:03d}'
            _save(
                _grey(sample.part.image) if number else sample.part.image, root / sample.split / folder / f'{name}.png'
            )
            if sample.defect:
                _save(sample.part.mask, root / 'ground_truth' / folder / f'{name}_mask.png')


@register_layout('visa', dataset_types=('VisADataset',), num_classes=2, size=(80, 96))
def _write_visa(request: Request) -> None:
    """VisA as published: JPG pictures, png masks of small numbers, one table that splits them."""
    lines = []
    for number, category in enumerate(('macaroni1', 'pcb1')):
        counts = {'Normal': 0, 'Anomaly': 0}
        for sample in _samples(request, number):
            kind = 'Anomaly' if sample.defect else 'Normal'
            name = f'{counts[kind]:0{3 if sample.defect else 4}d}'
            counts[kind] += 1
            image = f'{category}/Data/Images/{kind}/{name}.JPG'
            mask = f'{category}/Data/Masks/{kind}/{name}.png' if sample.defect else ''
            _save(sample.part.image, request.root / image)
            if mask:
                _save(sample.part.mask // 255 * (1 + DEFECTS.index(sample.defect)), request.root / mask)
            lines.append([category, sample.split, 'anomaly' if sample.defect else 'normal', image, mask])
    table = request.root / 'split_csv' / '1cls.csv'
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open('w', encoding='utf-8', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([['object', 'split', 'label', 'image', 'mask'], *lines])


@register_layout('magnetic_tile', dataset_types=('MagneticTileDataset',), num_classes=1, size=(96, 64))
def _write_magnetic_tile(request: Request) -> None:
    """Magnetic-tile defects: grey jpg pictures and soft-edged png masks of one name, all-black ones for MT_Free."""
    names = {'': 'Free', 'scratch': 'Crack', 'dent': 'Blowhole'}
    for sample in _samples(request, 0):
        if sample.split == 'test':
            folder = request.root / f'MT_{names[sample.defect]}' / 'Imgs'
            name = f'exp{sample.index + 1}_num_{1000 + 7 * sample.index}'
            _save(_grey(sample.part.image), folder / f'{name}.jpg')
            _save(cv2.GaussianBlur(sample.part.mask, (3, 3), 0), folder / f'{name}.png')


@register_layout('anomaly_folder', dataset_types=('AnomalyFolderDataset',), num_classes=1, size=(72, 96))
def _write_folder(request: Request) -> None:
    """A plain folder: normal/, a folder for each kind of defect, masks/."""
    for sample in _samples(request, 0):
        if sample.split == 'test':
            _save(sample.part.image, request.root / (sample.defect or 'normal') / f'{sample.index:02d}.png')
            if sample.defect:
                _save(sample.part.mask, request.root / 'masks' / sample.defect / f'{sample.index:02d}.png')


def _grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=2).astype(np.uint8)


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, quality=95)
