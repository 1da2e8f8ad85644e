"""Layouts of the open-vocabulary evaluation sets for :func:`generated.write_dataset`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from generated.writing import IGNORED, Request, Scene, register_layout

_CITIES = {'train': 'aachen', 'val': 'frankfurt'}
_PALETTE = [int(x) for x in np.random.default_rng(0).integers(0, 256, 768)]


@register_layout('voc2012', dataset_types=('PascalVOCDataset', 'PascalVOC20Dataset'), num_classes=21, size=(75, 100))
def _write_voc(request: Request) -> None:
    """VOC2012: palette files with a border of 255 around objects, and list files."""
    _write_voc_like(request, 'SegmentationClass', 'Segmentation', palette=True)


@register_layout(
    'pascal_context',
    dataset_types=('PascalContextDataset', 'PascalContextDataset59'),
    num_classes=60,
    size=(75, 100),
)
def _write_context(request: Request) -> None:
    """PASCAL Context on VOC2010: label maps with 0 = none of the 59 classes and nothing ignored, and list files."""
    _write_voc_like(request, 'SegmentationClassContext', 'SegmentationContext', palette=False)


def _write_voc_like(request: Request, labels_folder: str, lists_folder: str, *, palette: bool) -> None:
    for split, scenes in _splits(request):
        names = []
        for index, scene in enumerate(scenes):
            name = f'2010_{index + (0 if split == "train" else 5000):06d}'
            names.append(name)
            _save(scene.image, request.root / 'JPEGImages' / f'{name}.jpg')
            labels = scene.labels if palette else np.where(scene.labels == IGNORED, 0, scene.labels)
            _save(labels, request.root / labels_folder / f'{name}.png', palette=palette)
        listing = request.root / 'ImageSets' / lists_folder / f'{split}.txt'
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')


@register_layout('coco_stuff164k', dataset_types=('COCOStuffDataset',), num_classes=171, size=(75, 100))
def _write_coco_stuff(request: Request) -> None:
    """COCO-Stuff 164k after conversion: ids 0 to 170, 255 = unlabelled."""
    _write_coco_like(request, '_labelTrainIds.png', unlabelled=IGNORED)


@register_layout('coco_object', dataset_types=('COCOObjectDataset',), num_classes=81, size=(75, 100))
def _write_coco_object(request: Request) -> None:
    """COCO-Object after conversion: 0 = background, ids to 80, nothing ignored."""
    _write_coco_like(request, '_instanceTrainIds.png', unlabelled=0)


def _write_coco_like(request: Request, suffix: str, *, unlabelled: int) -> None:
    for split, scenes in _splits(request):
        for index, scene in enumerate(scenes):
            name = f'{index * 1000 + (9 if split == "train" else 139):012d}'
            _save(scene.image, request.root / 'images' / f'{split}2017' / f'{name}.jpg')
            labels = np.where(scene.labels == IGNORED, unlabelled, scene.labels)
            _save(labels, request.root / 'annotations' / f'{split}2017' / f'{name}{suffix}')


@register_layout('cityscapes', dataset_types=('CityscapesDataset',), num_classes=19, size=(64, 128))
def _write_cityscapes(request: Request) -> None:
    """Cityscapes after conversion: a folder for each city, train ids 0 to 18, 255 = not scored."""
    for split, scenes in _splits(request):
        city = _CITIES[split]
        for index, scene in enumerate(scenes):
            name = f'{city}_{index:06d}_000019'
            _save(scene.image, request.root / 'leftImg8bit' / split / city / f'{name}_leftImg8bit.png')
            _save(scene.labels, request.root / 'gtFine' / split / city / f'{name}_gtFine_labelTrainIds.png')


@register_layout('ade20k_full', dataset_types=('ADE20KFullDataset',), num_classes=847, size=(75, 100))
def _write_ade20k_full(request: Request) -> None:
    """ADE20K-847 after conversion: 16-bit ids 0 to 846, 65535 = ignored."""
    for split, scenes in _splits(request):
        folder = {'train': 'training', 'val': 'validation'}[split]
        for index, scene in enumerate(scenes):
            name = f'ADE_{split}_{index + 1:08d}'
            _save(scene.image, request.root / 'images' / folder / f'{name}.jpg')
            _save_wide(scene, 847, request.root / 'annotations' / folder / f'{name}.png')


@register_layout('pascal_context459', dataset_types=('PascalContextDataset459',), num_classes=459, size=(75, 100))
def _write_context459(request: Request) -> None:
    """PASCAL Context-459 after conversion: 16-bit ids 0 to 458, 65535 = ignored, and list files."""
    for split, scenes in _splits(request):
        names = []
        for index, scene in enumerate(scenes):
            names.append(f'2008_{index + (0 if split == "train" else 5000):06d}')
            _save(scene.image, request.root / 'JPEGImages' / f'{names[-1]}.jpg')
            _save_wide(scene, 459, request.root / 'SegmentationClassContext459' / f'{names[-1]}.png')
        listing = request.root / 'ImageSets' / 'SegmentationContext' / f'{split}.txt'
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')


def _save_wide(scene: Scene, num_classes: int, path: Path) -> None:
    """16-bit label map; drawn ids are spread over all classes, so that some need more than 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spread = scene.labels.astype(np.uint16) * 97 % num_classes
    Image.fromarray(np.where(scene.labels == IGNORED, 65535, spread).astype(np.uint16)).save(path)


def _splits(request: Request) -> Iterator[tuple[str, Iterator[Scene]]]:
    yield 'train', request.scenes('train', request.num_train)
    yield 'val', request.scenes('val', request.num_val)


def _save(array: np.ndarray, path: Path, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    if palette:
        image.putpalette(_PALETTE)
    image.save(path, quality=95)
