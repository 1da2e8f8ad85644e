"""The audit of panoptic sets compares the annotation file with the PNGs, both ways."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import layout_of, write_dataset
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

import denseclip  # noqa: F401
from denseclip.datasets.audit import audit_split
from denseclip.datasets.panoptic import AnnotationError
from denseclip.datasets.panoptic_audit import PanopticAuditReport
from denseclip.structures.panoptic import ids_to_rgb

IDS = np.array([[1, 1, 1, 700], [1, 2, 2, 700]])
CONTENT = {
    'images': [{'id': 5, 'file_name': 'a.jpg', 'height': 2, 'width': 4}],
    'annotations': [
        {
            'image_id': 5,
            'file_name': 'a.png',
            'segments_info': [
                {'id': 1, 'category_id': 10, 'iscrowd': 0, 'area': 4},
                {'id': 2, 'category_id': 30, 'iscrowd': 0, 'area': 2},
                {'id': 700, 'category_id': 30, 'iscrowd': 0, 'area': 2},
            ],
        }
    ],
    'categories': [{'id': 30, 'name': 'ball', 'isthing': 1}, {'id': 10, 'name': 'sky', 'isthing': 0}],
}
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticSegments'),
    dict(type='PackPanopticInputs', with_instances=True),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / 'img').mkdir()
    (tmp_path / 'png').mkdir()
    Image.new('RGB', (4, 2)).save(tmp_path / 'img/a.jpg')
    Image.fromarray(ids_to_rgb(IDS)).save(tmp_path / 'png/a.png')
    return tmp_path


def part(root: Path, change: Callable[[dict[str, Any]], object] = lambda content: None, **meta: Any) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    change(content)
    (root / 'own.json').write_text(json.dumps(content))
    return dict(
        type='PanopticSegmentsDataset',
        data_root=str(root),
        ann_file='own.json',
        data_prefix=dict(img_path='img', seg_map_path='png'),
        metainfo=meta,
        pipeline=LOAD,
    )


def audit(config: dict[str, Any]) -> PanopticAuditReport:
    ((_, report),) = audit_split(Config(dict(val_dataloader=dict(dataset=config))), 'val')
    assert isinstance(report, PanopticAuditReport)
    return report


def first(content: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return content['annotations'][0]['segments_info'][place]


def test_a_sound_set_is_counted(root: Path) -> None:
    report = audit(part(root))
    assert report.ok and report.void == 0 and report.most == 3
    assert [(name, c.thing, c.segments, c.pixels) for name, c in report.classes.items()] == [
        ('ball', True, 2, 4),
        ('sky', False, 1, 4),
    ]
    text = report.render()
    assert 'void 0.000 %' in text and '3 segments' in text and 'HINT' not in text


@pytest.mark.parametrize(
    ('change', 'kind', 'said'),
    [
        (lambda c: c['annotations'][0]['segments_info'].pop(), 'segments', r'does not list: 700 \(2 pixels\)'),
        (
            lambda c: first(c).update(id=9),
            'segments',
            r'segment 9 \(sky\): is in the annotation file, but has no pixel',
        ),
        (lambda c: first(c).update(id=0), 'segments', r'segment 0 \(sky\): the id 0 means void'),
        (lambda c: first(c).update(area=5), 'area', r'has 4 pixels, its area is said to be 5'),
        (lambda c: first(c).update(category_id=77), 'ids', r'no category with the id 77'),
        (lambda c: first(c).update(id=2), 'repeated', r'2 segments have the id 2'),
        (lambda c: c['annotations'][0].update(image_id=6), 'ids', r'no picture with the id 6'),
        (lambda c: c['images'][0].update(width=9), 'size', r'is \(2, 4\) \(h, w\), the annotation file says \(2, 9\)'),
        (lambda c: c['images'][0].update(file_name='b.jpg'), 'unreadable', r'b\.jpg: no such file'),
        (lambda c: c['annotations'][0].update(file_name='b.png'), 'unreadable', r'b\.png: no such file'),
        (lambda c: c['images'].append(c['images'][0]), 'repeated', r'2 entries have the id 5'),
        (lambda c: c.pop('categories'), 'annotations', r'no list of categories'),
        (lambda c: first(c).pop('category_id'), 'annotations', r'annotations\[0\], segment 0 has no "category_id"'),
        (lambda c: first(c).update(id='one'), 'annotations', r"has 'one' as its \"id\""),
        (lambda c: first(c).update(area='big'), 'annotations', r"has 'big' as its \"area\""),
        (lambda c: first(c).update(id=True), 'annotations', r'has True as its "id"; that is no whole number'),
        (lambda c: first(c).update(category_id=[10]), 'annotations', r'segment 0 has \[10\] as its "category_id"'),
        (
            lambda c: c['annotations'][0].update(image_id=[5]),
            'annotations',
            r'annotations\[0\] has \[5\] as its "image_id"',
        ),
        (lambda c: c['annotations'][0].update(file_name=3), 'annotations', r'has 3 as its "file_name"; write the name'),
        (
            lambda c: c['images'][0].update(height='tall'),
            'annotations',
            r"images\[0\] has 'tall' as its .height.; write",
        ),
        (
            lambda c: c['categories'][0].update(name=5),
            'annotations',
            r'categories\[0\] has 5 as its "name"; .*in quotes',
        ),
        (lambda c: c['categories'][0].update(name=None), 'annotations', r'categories\[0\] has None as its "name"'),
        (lambda c: c['categories'][0].pop('isthing'), 'annotations', r'whether ball can be counted .*thing_classes='),
    ],
)
def test_each_damage_is_named(root: Path, change: Callable[[dict[str, Any]], object], kind: str, said: str) -> None:
    report = audit(part(root, change))
    assert not report.ok and kind in {problem.kind for problem in report.problems}
    assert any(re.search(said, problem.message) for problem in report.problems), report.render()


def test_files_that_are_no_json(root: Path) -> None:
    config = part(root)
    (root / 'own.json').write_text('{"images": ')
    assert 'is no readable JSON' in audit(config).render()


def test_a_missing_area_is_counted(root: Path) -> None:
    def drop(content: dict[str, Any]) -> None:
        for place, value in enumerate((..., None, 0)):
            first(content, place).pop('area') if value is ... else first(content, place).update(area=value)

    report = audit(part(root, drop))
    assert report.ok and report.without_area == 3 and 'counted from the PNG' in report.render()
    sample = DATASETS.build(part(root, drop))[0]['data_samples']
    assert [s['area'] for s in sample.gt_panoptic_seg.segments_info] == [4, 2, 2]


def test_things_of_the_config_win(root: Path) -> None:
    report = audit(part(root, lambda c: [entry.pop('isthing') for entry in c['categories']], thing_classes=['sky']))
    assert report.ok and [count.thing for count in report.classes.values()] == [False, True]
    assert audit(part(root, thing_classes=())).ok
    with pytest.raises(AnnotationError, match="names 'cloud', which is none"):
        DATASETS.build(part(root, thing_classes=['cloud']))


def test_a_segment_of_id_0_is_void(root: Path) -> None:
    Image.fromarray(ids_to_rgb(np.where(IDS == 700, 0, IDS))).save(root / 'png/a.png')
    sample = DATASETS.build(part(root, lambda c: first(c, 2).update(id=0)))[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [1, 0]
    assert (sample.gt_panoptic_seg.data[0].numpy() == 0).tolist() == (IDS == 700).tolist()


@pytest.mark.parametrize('mode', ['L', 'I;16', 'palette of numbers', 'palette of colours', 'RGBA'])
def test_maps_of_any_mode_hold_the_same_segments(root: Path, mode: str) -> None:
    expected = DATASETS.build(part(root))[0]['data_samples'].gt_panoptic_seg
    small = np.where(IDS == 700, 3, IDS)
    content: Callable[[dict[str, Any]], object] = lambda c: None  # noqa: E731
    if mode == 'I;16':
        image = Image.fromarray(IDS.astype(np.uint16))
    elif mode == 'RGBA':
        image = Image.fromarray(ids_to_rgb(IDS)).convert('RGBA')
    elif mode == 'palette of colours':
        image = Image.fromarray(ids_to_rgb(IDS)).quantize(8, dither=Image.Dither.NONE)
    else:
        image = Image.fromarray(small.astype(np.uint8))
        content = lambda c: first(c, 2).update(id=3)  # noqa: E731
        if mode == 'palette of numbers':
            image.putpalette([200 - i for i in range(200)])
    image.save(root / 'png/a.png')
    found = DATASETS.build(part(root, content))[0]['data_samples'].gt_panoptic_seg
    assert (found.data == expected.data).all() and audit(part(root, content)).ok


def test_what_needs_no_mending_is_a_hint(root: Path) -> None:
    def add(content: dict[str, Any]) -> None:
        content['images'].append({'id': 6, 'file_name': 'c.jpg'})
        content['categories'].append({'id': 4, 'name': 'unused', 'isthing': 1})

    Image.new('RGB', (4, 2)).save(root / 'png/stray.png')
    report = audit(part(root, add, classes=('ball', 'unused')))
    text = report.render()
    assert report.ok and 'stray.png' in text and '1 pictures of the file have no annotation' in text
    assert 'void to training: sky (1)' in text and 'no segment of: unused' in text


def test_turned_pictures(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (4, 2)).save(root / 'img/a.jpg', exif=exif)
    report = audit(part(root))
    assert [problem.kind for problem in report.problems] == ['size', 'size']
    assert all('before turning' in problem.message for problem in report.problems)
    Image.new('RGB', (2, 4)).save(root / 'img/a.jpg', exif=exif)
    assert audit(part(root)).ok


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('kind', 'place'),
    [
        ('COCOPanopticSegments', ('annotations/panoptic_{s}2017.json', '{s}2017', 'annotations/panoptic_{s}2017')),
        ('ADE20KPanopticSegments', ('ade20k_panoptic_{s}.json', 'images/{f}', 'ade20k_panoptic_{s}')),
        (
            'CityscapesPanopticSegments',
            ('gtFine/cityscapes_panoptic_{s}.json', 'leftImg8bit/{s}', 'gtFine/cityscapes_panoptic_{s}'),
        ),
        ('MiniworldPanopticSegments', ('annotations/panoptic_{s}2017.json', '{s}2017', 'annotations/panoptic_{s}2017')),
    ],
)
def test_sets_of_the_suite_are_sound(tmp_path: Path, kind: str, place: tuple[str, ...], split: str) -> None:
    root = write_dataset(layout_of(kind).name, tmp_path / 'own', num_train=2, num_val=2, size=(48, 64))
    folder = {'train': 'training', 'val': 'validation'}[split]
    ann_file, pictures, pngs = (text.format(s=split, f=folder) for text in place)
    report = audit(
        dict(
            type=kind,
            data_root=str(root),
            ann_file=ann_file,
            data_prefix=dict(img_path=pictures, seg_map_path=pngs),
            pipeline=LOAD,
        )
    )
    assert report.ok and report.num_samples == 2, report.render()
