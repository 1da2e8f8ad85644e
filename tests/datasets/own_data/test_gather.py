"""Pictures of annotation tools keep their places, names and splits, and none is lost without a word."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import recognise
from denseclip.datasets.own_data.gather import locate


def picture(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 10, 3), level, np.uint8)).save(path)


def subset(folder: Path, name: str, count: int = 3, level: int = 0) -> None:
    """A subset of Datumaro's: pictures ``0.png``, ``1.png`` ... in a folder of their own."""
    items = []
    for place in range(count):
        picture(folder / f'images/{name}/{place}.png', level + place)
        box = {'label_id': 0, 'type': 'bbox', 'bbox': [1, 1, 4, 4]}
        items.append({'id': str(place), 'annotations': [box], 'image': {'path': f'{place}.png', 'size': [8, 10]}})
    content = {'dm_format_version': '1.0', 'categories': {'label': {'labels': [{'name': 'a'}]}}, 'items': items}
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    (folder / f'annotations/{name}.json').write_text(json.dumps(content))


def cvat(folder: Path, names: dict[str, str]) -> None:
    """CVAT's file of pictures and their subsets."""
    images = []
    for name, said in names.items():
        picture(folder / 'images' / said / name)
        box = '<box label="a" xtl="1" ytl="1" xbr="5" ybr="5"/>'
        about = f'subset="{said}"' if said else ''
        images.append(f'<image name="{name}" {about} width="10" height="8">{box}</image>')
    (folder / 'annotations.xml').write_text(f'<annotations>{"".join(images)}</annotations>')


def read(folder: Path) -> tuple[dict[str, list[Path]], str]:
    """Files of the pictures by split, and all notes."""
    data = recognise(folder, converted=folder.with_name('made'))
    found = {}
    for split, part in data.splits.items():
        found[split] = [
            (part.pictures / image['file_name']).resolve().relative_to(folder.resolve())
            for image in read_coco(part.ann_file)['images']
        ]
    return found, ' '.join(data.notes)


def test_pictures_that_name_no_split_are_trained_on_and_counted(tmp_path):
    cvat(tmp_path / 'set', {'a.png': 'Train', 'b.png': 'Validation', 'c.png': '', 'd.png': ''})
    found, notes = read(tmp_path / 'set')
    assert sorted(path.name for path in found['train']) == ['a.png', 'c.png', 'd.png']
    assert [path.name for path in found['val']] == ['b.png']
    assert '2 pictures name no split, such as c.png: they are trained on' in notes


def test_equal_names_in_subsets_are_different_pictures(tmp_path):
    subset(tmp_path / 'set', 'default')
    subset(tmp_path / 'set', 'other', level=50)
    found, _ = read(tmp_path / 'set')
    every = [path.as_posix() for part in found.values() for path in part]
    assert sorted(every) == [f'images/{name}/{place}.png' for name in ('default', 'other') for place in range(3)]


def test_a_test_set_is_never_trained_on(tmp_path):
    subset(tmp_path / 'set', 'default')
    subset(tmp_path / 'set', 'test', level=50)
    found, notes = read(tmp_path / 'set')
    assert {path.parts[1] for path in found['test']} == {'test'} and len(found['test']) == 3
    assert {path.parts[1] for path in found['train'] + found['val']} == {'default'}
    assert len(found['train'] + found['val']) == 3
    assert '3 pictures name no split' in notes
    (tmp_path / 'set/annotations/default.json').rename(tmp_path / 'set/annotations/val.json')
    (tmp_path / 'set/images/default').rename(tmp_path / 'set/images/val')
    with pytest.raises(ConversionError, match=r'pictures are in test \(3\), val \(3\), none in train'):
        recognise(tmp_path / 'set', converted=tmp_path / 'again')


def test_a_picture_of_two_splits_is_told(tmp_path):
    subset(tmp_path / 'set', 'train')
    subset(tmp_path / 'set', 'val')
    for place in range(3):
        (tmp_path / f'set/images/val/{place}.png').unlink()
        (tmp_path / f'set/images/train/{place}.png').rename(tmp_path / f'set/images/{place}.png')
    with pytest.raises(ConversionError, match=r'"0.png" is there twice, in .*train.json, too'):
        read(tmp_path / 'set')


def test_pictures_outside_the_folders_of_yolo_are_counted(tmp_path):
    for name in ('images/train/a', 'images/val/b', 'extra/c'):
        picture(tmp_path / f'set/{name}.png')
        label = tmp_path / 'set' / f'{name.replace("images", "labels")}.txt'
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text('0 0.5 0.5 0.5 0.5')
    (tmp_path / 'set/classes.txt').write_text('a')
    found, notes = read(tmp_path / 'set')
    assert {split: len(part) for split, part in found.items()} == {'train': 1, 'val': 1}
    assert '1 pictures outside the folders of splits are left out, such as extra/c.png' in notes


@pytest.mark.parametrize('root', ['//', '/', '///', '../', '/../', 'C:\\', '//../'])
def test_pictures_are_looked_for_in_the_data_set_alone(tmp_path, root):
    folder = tmp_path / 'set'
    folder.mkdir()
    marker = tmp_path / 'marker.png'
    picture(marker)
    for given in (f'{root}marker.png', f'{root}{marker.as_posix().lstrip("/")}'):
        with pytest.raises(ConversionError, match='is not below'):
            locate(folder / 'a.json', given, [folder])
    picture(folder / 'marker.png')
    path, name = locate(folder / 'a.json', f'{root}{marker.as_posix().lstrip("/")}', [folder])
    assert (path, name) == (folder / 'marker.png', 'marker.png')


def test_names_that_no_system_has_are_not_there(tmp_path):
    with pytest.raises(ConversionError, match='is not below'):
        locate(tmp_path / 'a.json', 'x' * 5000 + '.png', [tmp_path])
