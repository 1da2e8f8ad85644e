"""Layouts of own data are recognised, and what is lacking is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from PIL import Image

from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import BoxData, LabelMapData, recognise

XML = (
    '<annotation><object><name>{}</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>21</ymax></bndbox>'
    '</object></annotation>'
)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_dataset('bccd', tmp_path / 'mine', num_train=6, num_val=2, size=(48, 64))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)


def write_voc(root: Path, pictures: str, annotations: str, count: int = 5) -> Path:
    for index in range(count):
        picture(root / pictures / f'{index}.PNG')
        (root / annotations).mkdir(parents=True, exist_ok=True)
        (root / annotations / f'{index}.xml').write_text(XML.format('dog_big' if index % 2 else 'cat'))
    return root


def test_coco_with_a_file_per_split(coco: Path) -> None:
    data = recognise(coco)
    assert isinstance(data, BoxData) and list(data.splits) == ['train', 'val', 'test'] and not data.notes
    assert data.splits['val'].ann_file == coco / 'annotations/instances_val.json'
    assert data.splits['val'].pictures == coco / 'val'
    assert data.size == (64, 48)
    assert not (coco.parent / 'mine_coco').exists()


def test_only_instances_are_read_of_coco_itself(coco: Path) -> None:
    for other in ('captions_train', 'person_keypoints_train', 'captions_val'):
        (coco / f'annotations/{other}.json').write_text('{}')
    data = recognise(coco)
    assert isinstance(data, BoxData) and data.splits['train'].ann_file == coco / 'annotations/instances_train.json'


def test_coco_file_in_the_folder_of_each_split(coco: Path) -> None:
    for split, name in {'train': 'train', 'val': 'valid'}.items():
        (coco / split).rename(coco / name)
        shutil.move(coco / f'annotations/instances_{split}.json', coco / name / '_annotations.coco.json')
    shutil.rmtree(coco / 'annotations')
    data = recognise(coco)
    assert isinstance(data, BoxData) and list(data.splits) == ['train', 'val']
    assert data.splits['val'].pictures == coco / 'valid'


@pytest.mark.parametrize('places', ['{split}/data', 'images/{split}/all'])
def test_splits_whose_pictures_share_names_keep_their_own(places: str, tmp_path: Path) -> None:
    for split in ('valid', 'train'):
        entry = {'id': 1, 'file_name': 'a.png', 'height': 30, 'width': 40}
        box = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 4, 4], 'area': 16, 'iscrowd': 0}
        content = {'images': [entry], 'annotations': [box], 'categories': [{'id': 1, 'name': 'cat'}]}
        (tmp_path / 'own' / split).mkdir(parents=True)
        (tmp_path / 'own' / split / 'labels.json').write_text(json.dumps(content))
        picture(tmp_path / 'own' / places.format(split=split) / 'a.png')
    data = recognise(tmp_path / 'own', converted=tmp_path / 'made')
    assert isinstance(data, BoxData)
    for split, name in (('train', 'train'), ('val', 'valid')):
        assert data.splits[split].pictures == tmp_path / 'own' / places.format(split=name)


def test_one_coco_file_is_divided_without_loss(coco: Path) -> None:
    for split in ('val', 'test'):
        (coco / f'annotations/instances_{split}.json').unlink()
    whole = read_coco(coco / 'annotations/instances_train.json')
    data = recognise(coco, val_share=0.34)
    assert isinstance(data, BoxData) and len(data.notes) == 1
    parts = {split: read_coco(data.splits[split].ann_file) for split in ('train', 'val')}
    assert (len(parts['train']['images']), len(parts['val']['images'])) == (4, 2)
    for key in ('images', 'annotations'):
        together = sorted(e['id'] for part in parts.values() for e in part[key])
        assert together == sorted(entry['id'] for entry in whole[key])
    assert data.splits['train'].pictures == data.splits['val'].pictures == coco / 'train'
    with pytest.raises(ConversionError, match='exists already'):
        recognise(coco)
    assert recognise(coco, val_share=0.34, force=True) == data


def test_categories_without_boxes_are_no_classes(coco: Path) -> None:
    path = coco / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['categories'].append({'id': 0, 'name': 'everything'})
    path.write_text(json.dumps(content))
    data = recognise(coco)
    assert isinstance(data, BoxData) and 'everything' not in data.classes and data.classes


@pytest.mark.parametrize(('pictures', 'annotations'), [('JPEGImages', 'Annotations'), ('.', '.')])
def test_voc_files_without_lists(tmp_path: Path, pictures: str, annotations: str) -> None:
    root = write_voc(tmp_path / 'voc', pictures, annotations)
    data = recognise(root)
    assert isinstance(data, BoxData) and data.classes == ('cat', 'dog_big') and not data.masks
    parts = {split: read_coco(part.ann_file) for split, part in data.splits.items()}
    assert (len(parts['train']['images']), len(parts['val']['images'])) == (4, 1)
    first = parts['train']['images'][0]['file_name']
    assert (data.splits['train'].pictures / first).is_symlink() and first.endswith('.PNG')


def test_voc_lists_are_kept(tmp_path: Path) -> None:
    root = write_voc(tmp_path / 'voc', 'JPEGImages', 'Annotations')
    lists = root / 'ImageSets/Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('0\n1\n')
    with pytest.raises(ConversionError, match=r'no val\.txt'):
        recognise(root)
    (lists / 'val.txt').write_text('2\n3\n')
    data = recognise(root, force=True)
    assert isinstance(data, BoxData)
    assert [e['file_name'] for e in read_coco(data.splits['val'].ann_file)['images']] == ['2.PNG', '3.PNG']


@pytest.mark.parametrize(
    'folders', [('train', 'trainannot', 'val', 'valannot'), ('images/train', 'masks/train', 'images/val', 'masks/val')]
)
def test_label_maps(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for place, name in enumerate(folders):
        picture(tmp_path / name / 'a.png')
        if place % 2:
            labels = np.array([[0, 2, 255, 4]], np.uint8)
            Image.fromarray(labels).save(tmp_path / name / 'a.png')
    data = recognise(tmp_path)
    assert isinstance(data, LabelMapData) and data.ids == (0, 2, 4)
    assert data.splits['val'].labels == tmp_path / folders[3]


def test_a_lone_json_file_beside_label_maps_is_no_annotation_file(tmp_path: Path) -> None:
    for name in ('train', 'val'):
        picture(tmp_path / name / 'a.png')
        (tmp_path / f'{name}annot').mkdir()
        Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / f'{name}annot' / 'a.png')
    (tmp_path / 'classes.json').write_text('{"0": "sky", "1": "road"}')
    assert isinstance(recognise(tmp_path), LabelMapData)


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match='no such folder'):
        recognise(tmp_path / 'none')
    with pytest.raises(ConversionError, match='no layout is recognised'):
        recognise(tmp_path)
    picture(tmp_path / 'maps/train/a.png')
    picture(tmp_path / 'maps/trainannot/a.png')
    with pytest.raises(ConversionError, match='no val'):
        recognise(tmp_path / 'maps')
    picture(tmp_path / 'maps/val/a.png')
    (tmp_path / 'maps/valannot').mkdir()
    for split in ('train', 'val'):
        Image.new('RGB', (4, 1), (9, 8, 7)).save(tmp_path / f'maps/{split}annot/a.png')
    with pytest.raises(ConversionError, match='3 channels'):
        recognise(tmp_path / 'maps')


def test_pictures_that_cannot_be_found(coco: Path) -> None:
    shutil.rmtree(coco / 'train')
    with pytest.raises(ConversionError, match='its first picture .* is in no folder'):
        recognise(coco)
