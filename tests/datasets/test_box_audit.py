"""The box audit finds each kind of damage, names it and gives the fitting advice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated import write_dataset
from mmengine.config import Config
from PIL import Image

from denseclip.datasets.audit import audit_split
from denseclip.datasets.box_audit import BoxAuditReport
from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.files import UnreadableFileError

CLASSES = ('red blood cell', 'white blood cell', 'platelets')


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset('bccd', tmp_path_factory.mktemp('boxes') / 'BCCD', num_train=4, num_val=2, size=(48, 64))


@pytest.fixture
def audit(sound: Path, tmp_path: Path) -> Callable[..., BoxAuditReport]:
    """Audit the sound set after a change of its annotation file."""

    def look(change: Callable[[dict[str, Any]], None] = lambda content: None, *, masks: bool = False) -> BoxAuditReport:
        content = read_coco(sound / 'annotations/instances_train.json')
        change(content)
        (tmp_path / 'train.json').write_text(json.dumps(content))
        return audit_file(sound, tmp_path / 'train.json', masks=masks)

    return look


def audit_file(root: Path, ann_file: Path, *, masks: bool = False) -> BoxAuditReport:
    dataset = {
        'type': 'CocoDataset',
        'ann_file': str(ann_file),
        'data_prefix': {'img': str(root / 'train')},
        'metainfo': {'classes': CLASSES},
        'pipeline': [{'type': 'LoadAnnotations', 'with_bbox': True, 'with_mask': masks}],
    }
    config = Config({'default_scope': 'mmdet', 'train_dataloader': {'dataset': dataset}})
    ((name, report),) = audit_split(config, 'train')
    assert name == 'train' and isinstance(report, BoxAuditReport)
    return report


def kinds(report: BoxAuditReport) -> set[str]:
    return {problem.kind for problem in report.problems}


def test_sound_set_counts_what_the_file_holds(audit, sound: Path) -> None:
    report = audit()
    content = read_coco(sound / 'annotations/instances_train.json')
    plain = [a for a in content['annotations'] if not a['iscrowd']]
    assert report.ok and not report.problems
    assert sum(count.boxes for count in report.classes.values()) == len(plain)
    assert sum(count.crowd for count in report.classes.values()) == len(content['annotations']) - len(plain) > 0
    assert all(sum(count.sizes.values()) == count.boxes for count in report.classes.values())
    assert report.render().endswith('OK') and 'NOT OK' not in report.render()


def test_boxes_without_extent_and_corners_taken_for_sizes(audit) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content['annotations'][0]['bbox'][2] = 0
        content['annotations'][1]['bbox'] = [30, 20, 60, 47]  # corners of a 64 x 48 picture
        content['annotations'][2]['bbox'] = [1, 2, float('nan'), 4]
        del content['annotations'][3]['bbox']

    report = audit(spoil)
    text = report.render()
    assert kinds(report) == {'box'} and len(report.problems) == 4 and not report.ok
    assert 'thinner than a pixel' in text and 'are these corners' in text and 'not four numbers' in text
    assert 'PROBLEM box: 4' in text and text.endswith('NOT OK')


def test_a_box_may_end_on_the_border(audit) -> None:
    def touch(content: dict[str, Any]) -> None:
        content['annotations'][0]['bbox'] = [0, 0, 64, 48]

    assert audit(touch).ok


def test_unknown_ids_and_repeated_ids(audit) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content['annotations'][0]['image_id'] = 'nowhere'
        content['annotations'][1]['category_id'] = 77
        content['annotations'].append(dict(content['annotations'][2]))
        content['images'].append({**content['images'][0], 'id': 999})

    report = audit(spoil)
    messages = '\n'.join(problem.message for problem in report.problems)
    assert kinds(report) == {'ids', 'repeated'}
    assert "no picture with the id 'nowhere'" in messages and 'no category with the id 77' in messages
    assert f"2 pictures have the file_name '{read_name(report)}'" in messages


def read_name(report: BoxAuditReport) -> str:
    return next(p.message for p in report.problems if 'file_name' in p.message).split("'")[1]


def test_picture_missing_or_of_another_size(audit) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content['images'][0]['file_name'] = 'gone.jpg'
        content['images'][1]['width'] = 640

    report = audit(spoil)
    text = report.render()
    assert kinds(report) == {'unreadable', 'size'}
    assert 'gone.jpg: no such file' in text and 'is (48, 64) (h, w), the annotation file says (48, 640)' in text


def test_sizes_of_turned_pictures(audit, sound: Path) -> None:
    name = read_coco(sound / 'annotations/instances_train.json')['images'][0]['file_name']
    exif = Image.Exif()
    exif[0x0112] = 8
    with Image.open(sound / 'train' / name) as picture:
        stored = picture.copy()
    stored.save(sound / 'train' / name, exif=exif)

    def upright(content: dict[str, Any]) -> None:
        content['images'][0].update(width=48, height=64)
        kept = [entry for entry in content['annotations'] if entry['image_id'] != 1]
        content['annotations'] = [entry for entry in kept if not entry['iscrowd']]  # a class of crowds is a fault

    try:
        (problem,) = audit().problems
        assert problem.kind == 'size' and 'before turning' in problem.message
        assert audit(upright).ok
    finally:
        stored.save(sound / 'train' / name)


def test_class_names_that_do_not_meet(audit) -> None:
    def rename(content: dict[str, Any]) -> None:
        content['categories'][2]['name'] = 'Platelets'

    report = audit(rename)
    assert kinds(report) == {'classes'} and 'no category "platelets"' in report.render()
    assert report.unused['Platelets'] > 0 and any('Platelets (' in hint for hint in report.suggestions())


def test_advice_on_masks_absent_classes_and_id_zero(audit) -> None:
    def change(content: dict[str, Any]) -> None:
        content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 3]
        content['annotations'][0].update(id=0, iscrowd=0, segmentation=[])

    report = audit(change, masks=True)
    advice = '\n'.join([*report.suggestions(), *(problem.message for problem in report.problems)])
    assert not report.ok and kinds(report) == {'ids', 'mask'}
    assert 'no box of: platelets' in advice and 'takes no id 0' in advice and 'it has no mask' in advice


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'no readable JSON'),
        ('[]', 'no list "images"'),
        ('{"images": [{"id": 1}]}', r'images\[0\] has no "file_name"'),
    ],
)
def test_unreadable_annotation_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(UnreadableFileError, match=message):
        read_coco(path)
    report = audit_file(tmp_path, path)
    assert kinds(report) == {'unreadable'} and not report.ok and 'a.json' in report.render()


def test_missing_annotation_file(tmp_path: Path) -> None:
    report = audit_file(tmp_path, tmp_path / 'none.json')
    assert not report.ok and 'none.json: no such file' in report.render()
