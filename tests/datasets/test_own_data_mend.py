"""COCO files as tools write them: mended in a copy and said, or refused in words; never trained on nothing."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_layouts import MASKS, SIZE, Drawn, content, scores
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, init_default_scope
from pycocotools import mask as rle

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import NewDataset, new_dataset
from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.coco_objects import encode_mask, mask_area, mask_box, mask_fault, run_lengths
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import BoxData, recognise
from denseclip.datasets.own_data.splits import split_of

Change = Callable[[dict[str, Any]], None]


def write(root: Path, change: Change = lambda entry: None) -> Path:
    """A sound set with polygons, after a change of every object."""
    files = {}
    for split in ('train', 'val'):
        whole = content([0, 1, 2], names='abc')
        for image in whole['images']:
            image['file_name'] = f'{split} {image["id"]}.png'
        for entry in whole['annotations']:
            x, y, w, h = entry['bbox']
            entry['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            change(entry)
        files[f'annotations/instances_{split}.json'] = whole
    return Drawn(files, {}).write(root)


def code(entry: dict[str, Any], *, text: bool) -> dict[str, Any]:
    """The mask of an object as a run-length code."""
    found = encode_mask(entry['segmentation'], *SIZE)
    return found if text else {'size': found['size'], 'counts': run_lengths(found)}


def drop(*keys: str) -> Change:
    return lambda entry: [entry.pop(key) for key in keys] and None


def put(key: str, make: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda entry: entry.update({key: make(entry)})


def crowd(text: bool) -> Change:
    return lambda entry: entry.update(segmentation=code(entry, text=text), iscrowd=1)


MENDED: dict[str, tuple[Change, str]] = {
    'no area': (drop('area'), 'area of 6 objects is filled in'),
    'area 0': (put('area', lambda entry: 0), 'area of 6 objects is filled in'),
    'area null': (put('area', lambda entry: None), 'area of 6 objects is filled in'),
    'no iscrowd': (drop('iscrowd'), 'iscrowd of 6 objects is filled in'),
    'iscrowd null': (put('iscrowd', lambda entry: None), 'iscrowd of 6 objects is filled in'),
    'no box': (drop('bbox'), 'drawn around their masks'),
    'flat polygon': (put('segmentation', lambda e: e['segmentation'][0]), '6 masks that are no list of flat polygons'),
    'points': (
        put('segmentation', lambda e: [np.array(e['segmentation'][0]).reshape(-1, 2).tolist()]),
        '6 masks that are no list of flat polygons',
    ),
    'a splinter': (put('segmentation', lambda e: [[1, 1, 2, 2], *e['segmentation']]), 'fewer than three points'),
    'ids from 0': (put('id', lambda entry: entry['id'] - 1), 'numbered from 1'),
    'ids of text': (put('id', lambda entry: f'object {entry["id"]}'), 'numbered from 1'),
    'all crowds': (crowd(text=True), 'taken off a (2), b (2), c (2)'),
    'all crowds, lists': (crowd(text=False), 'taken off a (2), b (2), c (2)'),
}


def made_of(root: Path, base: Path | None = None, **options: Any) -> NewDataset:
    return new_dataset(root, root.with_name('mine.py'), base=base, **options)


def said(made: NewDataset) -> str:
    return '\n'.join(report.render() for report in (*made.reports.values(), *made.perfect.values()))


@pytest.mark.parametrize('kind', MENDED)
def test_mended_in_a_copy_and_said(tmp_path: Path, kind: str) -> None:
    change, line = MENDED[kind]
    root = write(tmp_path / 'mine', change)
    before = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    made = made_of(root, MASKS)
    assert {path: path.read_bytes() for path in root.rglob('*') if path.is_file()} == before
    assert made.ok, said(made)
    assert any(line in note for note in made.data.notes), made.data.notes
    assert made.perfect['val'].scores == {'box AP': 1.0, 'mask AP': 1.0}
    init_default_scope('mmdet')
    config = Config.fromfile(made.config)
    assert scores(config, 'val')['coco/segm_mAP'] == 1.0
    found = DATASETS.build({**config.train_dataloader.dataset, 'pipeline': []})
    kept = [
        (o['bbox_label'], [round(v) for v in o['bbox']]) for k in (0, 1) for o in found.get_data_info(k)['instances']
    ]
    assert kept == 2 * [(0, [1, 1, 21, 11]), (1, [5, 8, 35, 38]), (2, [20, 2, 29, 42])]


def test_sound_files_stay_where_they_are(tmp_path: Path) -> None:
    for kind in (lambda entry: None, put('segmentation', lambda e: code(e, text=False))):
        root = write(tmp_path / str(id(kind)) / 'mine', kind)
        made = made_of(root, MASKS)
        assert made.ok and not made.data.notes and made.data.splits['train'].ann_file.is_relative_to(root)


def test_marked_ignore_is_left_out_of_training_and_scores(tmp_path: Path) -> None:
    root = write(tmp_path / 'mine', lambda e: e.update(ignore=1) if e['id'] == 1 else None)
    made = made_of(root)
    assert made.ok and made.perfect['val'].scores == {'box AP': 1.0}
    assert any('1 objects marked ignore' in note for note in made.data.notes)
    crowds = [e['id'] for e in read_coco(made.data.splits['val'].ann_file)['annotations'] if e['iscrowd']]
    assert crowds == [1]


def test_some_crowds_are_said_and_taken_off_on_request(tmp_path: Path) -> None:
    root = write(tmp_path / 'mine', lambda e: crowd(text=True)(e) if e['image_id'] else None)
    made = made_of(root, MASKS)
    assert made.ok and not made.data.notes
    assert '3 of 6 objects are marked iscrowd=1, which training and scores leave out' in said(made)
    made = made_of(root, MASKS, crowds='objects', force=True)
    assert made.ok and 'iscrowd' not in said(made)
    assert not any(e['iscrowd'] for e in read_coco(made.data.splits['train'].ann_file)['annotations'])


def test_a_class_of_crowds_only_is_never_ok(tmp_path: Path) -> None:
    root = write(tmp_path / 'mine', lambda e: crowd(text=True)(e) if e['category_id'] == 2 else None)
    made = made_of(root, crowds='keep')
    assert not made.ok and 'b: all of its 2 objects are marked iscrowd=1' in said(made)
    assert made_of(root, force=True).ok


def test_polygons_of_two_points_are_a_problem_where_masks_are_trained(tmp_path: Path) -> None:
    root = write(tmp_path / 'mine', lambda e: e.update(segmentation=[[5, 8, 35, 38]]) if e['id'] == 2 else None)
    made = made_of(root, MASKS)
    assert not made.ok
    assert 'annotation 2 (b in train 0.png): a polygon of its mask has 2 points' in said(made)
    assert made_of(root, force=True).ok  # boxes alone


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (put('segmentation', lambda e: []), 'it has no mask'),
        (put('segmentation', lambda e: [[1, 1, 2.5]]), 'has 3 coordinates, an odd number'),
        (put('segmentation', lambda e: {'size': [48, 64], 'counts': [5]}), 'speaks of 5 pixels'),
        (put('segmentation', lambda e: [[1, 1, 9, 1, 9, 1e308]]), 'which is in no picture'),
        (put('segmentation', lambda e: [[1, 1, 9, 1, 9, 500]]), 'reaches far beyond the picture'),
        (put('segmentation', lambda e: {'size': [6, 8], 'counts': [40, 8]}), r'of the size \[6, 8\]'),
        (put('segmentation', lambda e: {'size': [48, 64], 'counts': 'zzz~'}), 'cannot be read'),
        (put('segmentation', lambda e: {'size': [48, 64], 'counts': [48 * 64]}), 'covers no pixel'),
        (put('segmentation', lambda e: [[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]]), 'covers no pixel'),
    ],
)
def test_masks_that_cannot_be_trained_are_named(tmp_path: Path, change: Change, message: str) -> None:
    root = write(tmp_path / 'mine', lambda e: change(e) if e['id'] == 5 else None)
    if 'no mask' in message:
        with pytest.raises(UserError, match='needs masks'):
            made_of(root, MASKS)
        return
    made = made_of(root, MASKS)
    assert not made.ok and 'annotation 5 (b in train 1.png): ' in said(made)
    assert re.search(message, said(made))


def test_several_files_of_one_split_are_one_set(tmp_path: Path) -> None:
    one, two = content([1, 0]), content([0, 1], ids=(7, 4, 1))
    one['annotations'] = [a for a in one['annotations'] if a['category_id'] != 3]
    two['categories'] = [{'id': 4, 'name': 'c'}, {'id': 7, 'name': 'b'}]
    two['annotations'] = [a for a in two['annotations'] if a['category_id'] != 1]
    for image in two['images']:
        image['file_name'] = f'other {image["id"]}.png'
    root = Drawn({'one.json': one, 'two.json': two}, {}).write(tmp_path / 'mine')
    data = recognise(root, val_share=0.5)
    assert isinstance(data, BoxData)
    found: dict[str, list[str]] = {}
    for part in data.splits.values():
        whole = read_coco(part.ann_file)
        names = {c['id']: c['name'] for c in whole['categories']}
        for image in whole['images']:
            assert (part.pictures / image['file_name']).is_file()
            key = Path(image['file_name']).name
            found[key] = [names[a['category_id']] for a in whole['annotations'] if a['image_id'] == image['id']]
    assert found == {
        'abc0.png': ['a', 'b'],
        'abc1.png': ['a', 'b'],
        'other 0.png': ['b', 'c'],
        'other 1.png': ['b', 'c'],
    }
    assert any('one.json' in note and 'two.json' in note for note in data.notes)


def test_the_same_object_in_two_files_is_refused(tmp_path: Path) -> None:
    root = Drawn({'one.json': content([0, 1, 2]), 'copy.json': content([2, 1, 0])}, {}).write(tmp_path / 'mine')
    with pytest.raises(ConversionError, match='hold the same object'):
        recognise(root)


@pytest.mark.parametrize('name', ['images\\{}', 'C:\\data\\here\\images\\{}', '/home/somebody/images/{}'])
def test_file_names_of_another_machine(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / 'mine')
    for path in (root / 'annotations').glob('*.json'):
        whole = json.loads(path.read_text())
        for image in whole['images']:
            image['file_name'] = name.format(image['file_name'])
        path.write_text(json.dumps(whole))
    assert made_of(root).ok


def test_two_categories_of_one_name_are_a_sentence(tmp_path: Path) -> None:
    root = write(tmp_path / 'mine')
    path = root / 'annotations/instances_train.json'
    whole = json.loads(path.read_text())
    whole['categories'][2]['name'] = 'a'
    path.write_text(json.dumps(whole))
    with pytest.raises(ConversionError, match='categories 1 and 3 are both called "a"'):
        recognise(root)
    whole['annotations'] = [e for e in whole['annotations'] if e['category_id'] != 3]
    path.write_text(json.dumps(whole))
    data = recognise(root)
    assert isinstance(data, BoxData) and data.classes == ('a', 'b')  # the other one has no objects


@pytest.mark.parametrize(
    ('name', 'split'),
    [
        ('instances_train2017', 'train'),
        ('Validation', 'val'),
        ('myTestSet', 'test'),
        ('valid', 'val'),
        ('latest', None),
        ('contest', None),
        ('trainval', None),
        ('train_val', None),
        ('interval', None),
        ('test-dev', 'test'),
    ],
)
def test_splits_are_whole_words(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_run_lengths_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.9):
        mask = (rng.random((37, 53)) < share).astype(np.uint8, order='F')
        text = rle.encode(mask)
        flat = mask.ravel(order='F')
        runs = run_lengths({'size': [37, 53], 'counts': text['counts'].decode()})
        assert runs is not None and np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), flat)
        assert mask_area({'size': [37, 53], 'counts': runs}, 53, 37) == mask.sum()
        assert mask_box({'size': [37, 53], 'counts': runs}) == rle.toBbox(text).tolist()
        assert mask_fault({'size': [37, 53], 'counts': text['counts'].decode()}, 53, 37) is None


def test_the_metric_reads_a_file_without_objects_for_a_server(tmp_path: Path) -> None:
    path = tmp_path / 'image_info.json'
    path.write_text(json.dumps({k: v for k, v in content([0, 1, 2]).items() if k != 'annotations'}))
    init_default_scope('mmdet')
    metric = METRICS.build(
        dict(type='NamedCocoMetric', ann_file=str(path), format_only=True, outfile_prefix=str(tmp_path / 'r'))
    )
    assert metric._coco_api.get_cat_ids(cat_names=['c', 'a', 'none']) == [3, 1, None]
