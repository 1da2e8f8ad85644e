"""Ordinary exports of Label Studio are read: choices, relations, skipped tasks, several annotations and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import recognise

SIZES = {'original_width': 10, 'original_height': 8}
BOX = {'x': 0, 'y': 0, 'width': 50, 'height': 50, 'rotation': 0}


def region(width: int = 50, kind: str = 'rectanglelabels', name: str = 'cat') -> dict:
    return {'id': 'r', 'type': kind, **SIZES, 'value': {**BOX, 'width': width, kind: [name]}}


def task(name: str, *results: dict, predicted: list | None = None, **said) -> dict:
    annotations = [{'result': list(results), 'was_cancelled': False, **said}]
    return {'data': {'image': f'{name}.png'}, 'annotations': annotations, 'predictions': [{'result': predicted or []}]}


def read(folder: Path, tasks: list) -> tuple[dict[str, list], tuple[str, ...]]:
    """Class and width of each object of each picture, and the notes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in 'abcd':
        Image.fromarray(np.full((8, 10, 3), ord(name), np.uint8)).save(folder / f'{name}.png')
    (folder / 'project.json').write_text(json.dumps(tasks))
    data = recognise(folder, converted=folder.with_name('made'), val_share=0.3)
    found: dict[str, list] = {}
    for part in data.splits.values():
        content = read_coco(part.ann_file)
        names = {entry['id']: entry['name'] for entry in content['categories']}
        stems = {entry['id']: Path(entry['file_name']).stem for entry in content['images']}
        found |= {stem: [] for stem in stems.values()}
        for entry in content['annotations']:
            found[stems[entry['image_id']]].append((names[entry['category_id']], entry['bbox'][2]))
    return found, data.notes


def test_what_is_no_region_with_a_class_is_counted_and_left_out(tmp_path):
    others = [
        region(kind='choices', name='truncated'),
        {'type': 'relation', 'from_id': 'r', 'to_id': 'r', 'direction': 'right', 'labels': ['part of']},
        {'type': 'choices', 'value': {'choices': ['sunny']}},
        {'type': 'taxonomy', 'value': {'taxonomy': [['a', 'b']]}},
        {'type': 'rating', 'value': {'rating': 4}},
        {'type': 'textarea', **SIZES, 'value': {**BOX, 'text': ['words']}},
    ]
    found, notes = read(tmp_path / 'set', [task('a', region(), *others), task('b', region())])
    assert found == {'a': [('cat', 5)], 'b': [('cat', 5)]}
    [line] = [note for note in notes if note.startswith('left out')]
    assert all(said in line for said in ('choices (2)', 'relation (1)', 'taxonomy (1)', 'rating (1)', 'textarea (1)'))
    assert not any('several annotations' in note or note.startswith('0 ') for note in notes)


def test_a_skipped_picture_does_not_get_what_a_model_predicted(tmp_path):
    skipped = task('c', predicted=[region()], was_cancelled=True)
    found, notes = read(tmp_path / 'set', [task('a', region()), task('b', region()), skipped])
    assert sorted(found) == ['a', 'b']
    assert any(note.startswith('1 pictures that people skipped are left out') for note in notes)


def test_the_short_form_keeps_empty_pictures_and_the_newest_annotation(tmp_path):
    def entry(number: int, name: str, width: int, day: int) -> dict:
        drawn = [{**BOX, 'width': width, 'rectanglelabels': ['cat'], **SIZES}] if width else []
        said = {'annotation_id': day, 'updated_at': f'2026-01-0{day}T00:00:00Z', 'annotator': 1}
        return {'id': number, 'image': f'{name}.png', **({'label': drawn} if drawn else {}), **said}

    attribute = {**entry(3, 'c', 50, 6), 'state': [{**BOX, 'choices': ['truncated'], **SIZES}]}
    entries = [entry(1, 'a', 20, 5), entry(1, 'a', 80, 2), entry(2, 'b', 0, 1), attribute]
    found, notes = read(tmp_path / 'set', entries)
    assert found == {'a': [('cat', 2)], 'b': [], 'c': [('cat', 5)]}
    assert any(note.startswith('1 pictures have several annotations') for note in notes)
    assert any('choices (1)' in note for note in notes if note.startswith('left out'))


def test_a_task_of_several_pictures_needs_the_setup(tmp_path):
    tasks = [task('a', region()), task('b', region())]
    for entry in tasks:
        entry['data'] = {'thumbnail': 'd.png', **entry['data']}
    with pytest.raises(ConversionError, match='task 1: thumbnail, image name several pictures'):
        read(tmp_path / 'set', tasks)
    config = '<View><Image name="i" value="$image"/><Label value="cat"/></View>'
    (tmp_path / 'set/label_config.xml').write_text(config)
    assert sorted(read(tmp_path / 'set', tasks)[0]) == ['a', 'b']


def test_an_address_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConversionError, match=r'task 1: the address "http://\[x/1.png" cannot be read'):
        read(tmp_path / 'set', [{**task('a', region()), 'data': {'image': 'http://[x/1.png'}}, task('b', region())])


def test_tasks_without_a_split_beside_others_are_kept(tmp_path):
    tasks = [task(name, region()) for name in 'abcd']
    for entry in tasks[:2]:
        entry['data']['split'] = 'train'
    found, notes = read(tmp_path / 'set', tasks)
    assert sorted(found) == list('abcd')
    assert any(note.startswith('2 pictures name no split') for note in notes)
