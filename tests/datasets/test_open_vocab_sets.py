"""The evaluation sets: class lists, classes, generated layouts."""

from __future__ import annotations

from pathlib import Path

import mmseg.datasets as host
import numpy as np
import pytest
from generated import layout_of, write_dataset
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

import denseclip.datasets  # noqa: F401  (registration)
from denseclip.clip.vocabulary import Vocabulary, available
from denseclip.engine.hooks.vocabulary_check import compare_vocabulary

CONTEXT = dict(
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
    ann_file='ImageSets/SegmentationContext/val.txt',
)
VOC = dict(
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/val.txt',
)
COCO = dict(data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'))
SETS = {
    'voc21': ('PascalVOCDataset', 21, VOC),
    'voc20': ('PascalVOC20Dataset', 20, VOC),
    'context60': ('PascalContextDataset', 60, CONTEXT),
    'context59': ('PascalContextDataset59', 59, CONTEXT),
    'coco_object': ('COCOObjectDataset', 81, COCO),
    'coco_stuff': ('COCOStuffDataset', 171, COCO),
    'cityscapes': (
        'CityscapesDataset',
        19,
        dict(data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')),
    ),
    'ade20k': (
        'ADE20KDataset',
        150,
        dict(data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation')),
    ),
}


def build(name: str, root: Path):
    kind, count, files = SETS[name]
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(
            dict(
                type=kind,
                data_root=str(root),
                **files,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'),
                    dict(type='CheckLabelRange', num_classes=count),
                ],
            )
        )


@pytest.mark.parametrize('name', SETS)
def test_the_real_class_reads_the_generated_layout(name: str, tmp_path: Path) -> None:
    kind, count, _ = SETS[name]
    root = write_dataset(layout_of(kind).name, tmp_path / 'd', num_train=1, num_val=3, size=(24, 32))
    dataset = build(name, root)
    assert len(dataset) == 3 and len(dataset.metainfo['classes']) == count == len(dataset.metainfo['palette'])
    seen = set()
    for sample in dataset:
        assert sample['img'].shape[:2] == sample['gt_seg_map'].shape
        seen |= set(np.unique(sample['gt_seg_map'])) - {255}
    assert len(seen) > 3 and max(seen) < count


@pytest.mark.parametrize('name', SETS)
@pytest.mark.parametrize(
    'ending', ['', '_aliases', '_maskclip', '_sclip', '_clearclip', '_proxyclip', '_corrclip', '_sfp']
)
def test_lists_have_the_classes_in_label_order(name: str, ending: str) -> None:
    if f'{name}{ending}' not in available():
        assert ending and {f'{name}_aliases', f'{name}_sclip'} & set(available())
        return
    names = Vocabulary.named(f'{name}{ending}').names
    classes = list(DATASETS.get(SETS[name][0]).METAINFO['classes'])
    warning = compare_vocabulary(list(names), classes, 'test')
    renamed = {
        'voc21_sclip': {0: 'sky', 4: 'ship', 11: 'table', 20: 'television monitor'},
        'voc21_clearclip': {4: 'ship', 11: 'table'},
        'voc21_proxyclip': {0: 'sky', 4: 'ship', 11: 'table'},
        'voc20_sclip': {3: 'ship', 10: 'table', 19: 'television monitor'},
        'voc20_clearclip': {3: 'ship', 10: 'table'},
        'coco_object_sclip': {0: 'sky', 5: 'airplane'},
        'coco_object_clearclip': {5: 'airplane'},
        'coco_object_proxyclip': {0: 'sky', 5: 'airplane'},
        'voc20_maskclip': {0: 'airplane'},
        'voc21_corrclip': {0: 'sky', 4: 'ship', 11: 'table', 15: 'people'},
        'voc20_corrclip': {3: 'ship', 10: 'table', 14: 'people'},
        'coco_object_corrclip': {0: 'sky', 1: 'people', 5: 'airplane'},
        'coco_stuff_corrclip': {0: 'people'},
        'context60_corrclip': {37: 'people'},
        'context59_corrclip': {36: 'people'},
        'cityscapes_corrclip': {11: 'people'},
        'ade20k_corrclip': {12: 'people'},
        'voc21_sfp': {0: 'sky', 4: 'ship', 11: 'table', 15: 'people', 20: 'television monitor'},
        'voc20_sfp': {3: 'ship', 10: 'table', 14: 'people', 19: 'television monitor'},
        'cityscapes_sfp': {11: 'people'},
    }.get(f'{name}{ending}', {})
    differing = {k: n for k, (n, c) in enumerate(zip(names, classes, strict=True)) if _plain(n) != _plain(c)}
    assert differing == renamed
    assert (warning is None) == (not renamed)


def _plain(name: str) -> str:
    return ''.join(c for c in name.casefold() if c.isalnum())


def test_names_that_published_results_prompt_with() -> None:
    """CLIP-DINOiser writes names apart where mmseg joins them, and says aeroplane in COCO-Object."""
    voc = Vocabulary.named('voc21').names
    assert voc[0] == 'background' and voc[1:] == Vocabulary.named('voc20').names
    assert {'dining table', 'potted plant', 'tvmonitor', 'motorbike'} < set(voc)
    context = Vocabulary.named('context60').names
    assert context[0] == 'background' and context[1:] == Vocabulary.named('context59').names
    assert 'potted plant' in context and 'tvmonitor' in context
    things = Vocabulary.named('coco').names
    wanted = ('background', *('aeroplane' if n == 'airplane' else n for n in things))
    assert Vocabulary.named('coco_object').names == wanted
    assert Vocabulary.named('coco_stuff').names == tuple(host.COCOStuffDataset.METAINFO['classes'])
    assert Vocabulary.named('cityscapes').names == tuple(host.CityscapesDataset.METAINFO['classes'])


def test_background_as_words_for_stuff() -> None:
    first = Vocabulary.named('voc21_sclip').classes[0]
    assert len(first.names) == 26 and 'fence' in first.names and 'background' not in first.names
    objects = Vocabulary.named('coco_object_sclip')
    assert objects.classes[0] == first and objects.shared_names and 'bed' in objects.names
    assert set(Vocabulary.named('coco_object_proxyclip').groups[0]) < set(first.names)


def test_voc20_ignores_background_and_borders(tmp_path: Path) -> None:
    root = write_dataset('voc2012', tmp_path / 'd', num_train=1, num_val=1, size=(24, 32))
    path = next((root / 'SegmentationClass').glob('2010_005*.png'))
    labels = np.asarray(Image.open(path))
    assert Image.open(path).mode == 'P'
    wanted = np.where((labels == 0) | (labels == 255), 255, labels - 1)
    assert (build('voc20', root)[0]['gt_seg_map'] == wanted).all()
    assert (build('voc21', root)[0]['gt_seg_map'] == labels).all()


def test_coco_object_has_no_ignored_pixel(tmp_path: Path) -> None:
    root = write_dataset('coco_object', tmp_path / 'd', num_train=1, num_val=2, size=(24, 32))
    assert all(sample['gt_seg_map'].max() <= 80 for sample in build('coco_object', root))
