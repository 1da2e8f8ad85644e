"""VOC boxes to COCO's layout: checked completely first, then written completely or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denseclip.cli.main import main
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.converters.voc_boxes import convert_bccd, convert_voc_boxes

REPOSITORY = Path(__file__).parents[2]
OBJECT = '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'


@pytest.fixture
def source(tmp_path):
    """A checkout with three pictures of 40 x 30, one for each split."""
    folder = tmp_path / 'checkout' / 'BCCD'
    objects = {
        'a': [('RBC', 1, 1, 10, 20), ('WBC', 5, 5, 50, 31)],
        'b': [('Platelets', 7, 7, 7, 7)],
        'c': [('RBC', 0, 3, 4, 9)],
    }
    for split, (name, found) in zip(('train', 'val', 'test'), objects.items(), strict=True):
        for part in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
            (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / 'JPEGImages' / f'{name}.jpg')
        text = ''.join(OBJECT.format(*entry) for entry in found)
        (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{text}</annotation>')
        (folder / 'ImageSets/Main' / f'{split}.txt').write_text(f'{name}\n')
    return folder


def read(target, split):
    return json.loads((target / 'annotations' / f'instances_{split}.json').read_text())


@pytest.mark.parametrize('link', [False, True])
def test_boxes_become_cocos(source, tmp_path, link):
    target = tmp_path / 'BCCD'
    counts = convert_bccd(source.parent, target, link=link)
    assert counts.images == {'train': 1, 'val': 1, 'test': 1}
    assert counts.boxes == {'red blood cell': 2, 'white blood cell': 1, 'platelets': 0}
    assert counts.dropped == ['b.xml: 7 7 7 7']
    train = read(target, 'train')
    assert train['images'] == [{'id': 1, 'file_name': 'a.jpg', 'height': 30, 'width': 40}]
    assert [a['bbox'] for a in train['annotations']] == [[0, 0, 10, 20], [4, 4, 36, 26]]  # counted from 1, clipped
    assert [a['category_id'] for a in train['annotations']] == [1, 2]
    assert [c['name'] for c in train['categories']] == ['red blood cell', 'white blood cell', 'platelets']
    assert read(target, 'test')['annotations'][0]['bbox'] == [0, 2, 4, 7]
    assert (target / 'train' / 'a.jpg').is_symlink() is link


def turn(source, said):
    """Let a phone have taken c.jpg: its pixels lie on their side, and a tag says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(source / 'JPEGImages/c.jpg', exif=exif)
    path = source / 'Annotations' / 'c.xml'
    size = '<size><width>{1}</width><height>{0}</height></size>'.format(*said)
    box = OBJECT.format('RBC', 1, 31, 30, 40)  # the lower edge of the upright picture
    path.write_text(f'<annotation>{size}{box}</annotation>')


def test_boxes_on_turned_pictures_are_kept(source, tmp_path):
    turn(source, said=(40, 30))
    counts = convert_bccd(source, tmp_path / 'BCCD')
    found = read(tmp_path / 'BCCD', 'test')
    assert found['images'][0]['height'] == 40 and found['images'][0]['width'] == 30
    assert [a['bbox'] for a in found['annotations']] == [[0, 30, 30, 10]] and len(counts.dropped) == 1


def test_boxes_made_before_turning_are_refused(source, tmp_path):
    turn(source, said=(30, 40))
    with pytest.raises(ConversionError, match=r'c\.xml: says \(30, 40\).*before turning'):
        convert_bccd(source, tmp_path / 'BCCD')


def break_class(source):
    path = source / 'Annotations' / 'c.xml'
    path.write_text(path.read_text().replace('RBC', 'rbc'))


def break_xml(source):
    (source / 'Annotations' / 'c.xml').write_text('<annotation>')


def break_number(source):
    path = source / 'Annotations' / 'c.xml'
    path.write_text(path.read_text().replace('<xmax>4</xmax>', ''))


def break_picture(source):
    (source / 'JPEGImages' / 'c.jpg').write_bytes(b'')


def break_split(source):
    (source / 'ImageSets/Main/test.txt').write_text('c\na\n')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (break_class, 'c.xml: class "rbc" is none of RBC, WBC, Platelets'),
        (break_xml, 'c.xml: not a readable VOC annotation'),
        (break_number, 'c.xml: not a readable VOC annotation'),
        (break_picture, 'c.jpg'),
        (break_split, 'a: listed in train and again in test'),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_a_problem_is_named_and_nothing_is_written(source, tmp_path, damage, message):
    damage(source)
    target = tmp_path / 'BCCD'
    with pytest.raises(ConversionError, match=message):
        convert_bccd(source, target)
    assert not target.exists()


def test_other_classes_and_missing_folders(source, tmp_path):
    counts = convert_voc_boxes(source, tmp_path / 'out', {'RBC': 'cell', 'WBC': 'white', 'Platelets': 'p'})
    assert counts.boxes == {'cell': 2, 'white': 1, 'p': 0}
    with pytest.raises(ConversionError, match='holds no .xml file'):
        convert_bccd(tmp_path, tmp_path / 'other')
    (source / 'ImageSets/Main/train.txt').unlink()
    with pytest.raises(ConversionError, match='train.txt does not exist'):
        convert_bccd(source, tmp_path / 'other')


def test_the_command_prints_what_it_found(source, tmp_path, capsys):
    for code, message in ((0, '1 train, 1 val, 1 test'), (2, '--force')):
        assert main(['convert', 'bccd', str(source), str(tmp_path / 'BCCD')]) == code
        printed = capsys.readouterr()
        assert message in printed.out + printed.err
        assert ('left out, no width or height: b.xml' in printed.out) is (code == 0)
