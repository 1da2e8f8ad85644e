"""YOLO, labelme, CVAT and VOC become COCO's files in which every object has its name, box and mask."""

import base64
import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from denseclip.apis.new_dataset import new_dataset
from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import BoxData, recognise

WIDTH, HEIGHT = 60, 40


def picture(path: Path, *, exif: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    tags = Image.Exif()
    if exif:
        tags[0x0112] = exif
    image.save(path, exif=tags)
    return path


def objects(data: BoxData, split: str) -> dict[str, list[tuple[Any, ...]]]:
    """Name, box and mask pixels of the objects of each picture."""
    content = read_coco(data.splits[split].ann_file)
    names = {c['id']: c['name'] for c in content['categories']}
    found: dict[str, list[tuple[Any, ...]]] = {}
    for image in content['images']:
        assert (data.splits[split].pictures / image['file_name']).is_file()
        here = [a for a in content['annotations'] if a['image_id'] == image['id']]
        found[image['file_name']] = [
            (names[a['category_id']], [round(v, 2) for v in a['bbox']], a.get('segmentation'), a['iscrowd'])
            for a in here
        ]
    assert [a['id'] for a in content['annotations']] == list(range(1, len(content['annotations']) + 1))
    assert all(a['area'] > 0 for a in content['annotations'])
    return found


def boxes(data: BoxData, split: str) -> dict[str, list[tuple[str, list[float]]]]:
    return {name: [(label, box) for label, box, _, _ in found] for name, found in objects(data, split).items()}


def as_boxes(folder: Path, **options: Any) -> BoxData:
    data = recognise(folder, converted=folder.with_name('made'), **options)
    assert isinstance(data, BoxData)
    return data


# --- YOLO -------------------------------------------------------------------------------------------------------------


def yolo(root: Path, names: str, *, inside_out: bool) -> Path:
    """Boxes of two classes, and one background picture without a text file."""
    for split in ('train', 'val'):
        for index in range(2):
            kinds = ('images', 'labels')
            where = [Path(split, kind) if inside_out else Path(kind, split) for kind in kinds]
            picture(root / where[0] / f'{index}.jpg')
            (root / where[1]).mkdir(parents=True, exist_ok=True)
            (root / where[1] / f'{index}.txt').write_text(f'{index} 0.5 0.5 0.5 0.25\n2 0.25 0.5 0.1 0.1\n')
        picture(root / where[0] / 'empty.jpg')
    (root / 'data.yaml').write_text(names)
    return root


@pytest.mark.parametrize('inside_out', [False, True])
@pytest.mark.parametrize(
    'names',
    [
        'names: [cat, "a dog", 犬]\ntrain: images/train\nval: images/val',
        'path: ../somewhere\nnames:\n  2: 犬\n  0: cat\n  1: a dog\nnc: 3',
        'names: {0: cat, 1: a dog, 2: 犬}\ntrain: ../train/images\nval: ../valid/images',
    ],
)
def test_yolo(tmp_path: Path, names: str, inside_out: bool) -> None:
    data = as_boxes(yolo(tmp_path / 'mine', names, inside_out=inside_out))
    assert data.classes == ('cat', 'a dog', '犬')
    found = {Path(name).name: value for name, value in boxes(data, 'val').items()}
    assert found['0.jpg'] == [('cat', [15, 15, 30, 10]), ('犬', [12, 18, 6, 4])]
    assert found['1.jpg'][0][0] == 'a dog' and found['empty.jpg'] == []
    assert not any('changed' in note for note in data.notes)


def test_yolo_polygons_scores_and_a_list_of_names(tmp_path: Path) -> None:
    root = tmp_path / 'mine'
    for index in range(4):
        picture(root / 'images' / f'{index}.png')
        (root / 'labels').mkdir(exist_ok=True)
        lines = ['0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5', '1 0.1 0.1 0.5 0.1 0.5 0.5 0.9', '0 0.5 0.5 0.2 0.2 0.75']
        (root / 'labels' / f'{index}.txt').write_text('\n'.join(lines))
    (root / 'classes.txt').write_text('red block\nblue block\n')
    data = as_boxes(root)
    (first, *_) = objects(data, 'train').values()
    assert first[0] == ('red block', [6, 4, 24, 16], [[6.0, 4.0, 30.0, 4.0, 30.0, 20.0, 6.0, 20.0]], 0)
    assert first[1][:2] == ('blue block', [6, 4, 24, 16]) and len(first[1][2][0]) == 6
    assert first[2][:3] == ('red block', [24, 16, 12, 8], None)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('3 0.5 0.5 0.1 0.1', r'0\.txt, line 1: the class 3 is none of 0 to 2'),
        ('0 30 20 10 10', r'line 1: 30 is no share of the picture'),
        ('0.5 0.5 0.5 0.1 0.1', r'the class 0\.5 is none'),
        ('0 0.5 0.5', r'line 1: 3 numbers; a box has five'),
        ('cat 0.5 0.5 0.5 0.1', r'are not numbers alone'),
    ],
)
def test_yolo_lines_that_are_wrong_are_named(tmp_path: Path, line: str, message: str) -> None:
    root = yolo(tmp_path / 'mine', 'names: [a, b, c]', inside_out=False)
    (root / 'labels/train/0.txt').write_text(line)
    with pytest.raises(ConversionError, match=message):
        as_boxes(root)
    assert not (tmp_path / 'made').exists()


def test_yolo_needs_names_and_each_once(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'mine', 'names: [a, b, a]', inside_out=False)
    with pytest.raises(ConversionError, match='data.yaml: .* "a" stands there twice'):
        as_boxes(root)
    (root / 'data.yaml').unlink()
    with pytest.raises(ConversionError, match='neither data.yaml, classes.txt nor obj.names'):
        as_boxes(root)


@pytest.mark.parametrize(
    ('names', 'said'),
    [('[no, dog, cat]', 'class 0 has the name False'), ('[cat, null, dog]', 'class 1 has the name None')],
)
def test_yolo_names_that_yaml_reads_as_something_else(tmp_path: Path, names: str, said: str) -> None:
    root = yolo(tmp_path / 'mine', f'names: {names}', inside_out=False)
    with pytest.raises(ConversionError, match=rf'data\.yaml: {said}; write it as text in quotes'):
        as_boxes(root)


def test_yolo_of_one_folder_for_both_is_divided(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'mine', 'names: [a, b, c]\ntrain: images/train\nval: images/train', inside_out=False)
    data = as_boxes(root)
    names = [set(boxes(data, split)) for split in ('train', 'val')]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 3


# --- labelme ----------------------------------------------------------------------------------------------------------


def labelme(root: Path, shapes: list[dict[str, Any]], count: int = 3) -> Path:
    for index in range(count):
        picture(root / f'test image {index}.jpg')
        content = {
            'version': '5.4.1',
            'shapes': shapes,
            'imagePath': f'..\\elsewhere\\test image {index}.jpg',
            'imageHeight': HEIGHT,
            'imageWidth': WIDTH,
            'imageData': None,
        }
        (root / f'test image {index}.json').write_text(json.dumps(content))
    return root


@pytest.mark.parametrize('label', [5, None, True, ' '])
def test_labelme_labels_are_text(tmp_path: Path, label: Any) -> None:
    root = labelme(tmp_path / 'mine', [{'label': label, 'shape_type': 'rectangle', 'points': [[2, 3], [9, 12]]}])
    with pytest.raises(ConversionError, match=r'shape 0 cannot be read \(it has the label .*text in quotes'):
        as_boxes(root)


@pytest.mark.parametrize('value', ['tall', math.nan, True, [48], -3])
def test_labelme_sizes_are_numbers(tmp_path: Path, value: Any) -> None:
    shape = {'label': 'a dog', 'shape_type': 'rectangle', 'points': [[2, 3], [9, 12]]}
    root = labelme(tmp_path / 'mine', [shape])
    path = root / 'test image 1.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'imageHeight': value}))
    with pytest.raises(ConversionError, match=r'test image 1\.json: has the "imageHeight" .*; write pixels'):
        as_boxes(root)


def pixels(array: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, 'png')
    return base64.b64encode(stream.getvalue()).decode()


def test_labelme(tmp_path: Path) -> None:
    square = [[5, 5], [15, 5], [15, 15], [5, 15]]
    part = np.zeros((6, 8), bool)
    part[1:5, 2:7] = True
    shapes = [
        {'label': 'box', 'shape_type': 'rectangle', 'points': [[30, 20], [10, 10]]},
        {'label': 'b', 'shape_type': 'polygon', 'points': square, 'group_id': 1},
        {'label': 'b', 'shape_type': 'polygon', 'points': [[x + 20, y] for x, y in square], 'group_id': 1},
        {'label': 'other', 'shape_type': 'polygon', 'points': square, 'group_id': 1},
        {'label': 'ball', 'shape_type': 'circle', 'points': [[20, 20], [25, 20]]},
        {'label': 'm', 'shape_type': 'mask', 'points': [[10, 12], [17, 17]], 'mask': pixels(part)},
        {'label': 'x', 'shape_type': 'point', 'points': [[1, 1]]},
        {'label': '__ignore__', 'shape_type': 'polygon', 'points': square},
    ]
    data = as_boxes(labelme(tmp_path / 'mine', shapes))
    assert data.classes == ('b', 'ball', 'box', 'm', 'other')
    (found, *_) = objects(data, 'train').values()
    by_name = {name: (box, mask) for name, box, mask, _ in found}
    assert by_name['box'] == ([10, 10, 20, 10], None)
    assert by_name['b'][0] == [5, 5, 30, 10] and len(by_name['b'][1]) == 2
    assert by_name['ball'][0] == [15, 15, 10, 10]
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[12:18, 10:18] = part
    assert by_name['m'][0] == [12, 13, 5, 4]
    assert np.array_equal(rle.decode(by_name['m'][1]).astype(bool), whole)
    assert any('point (3), __ignore__ (3)' in note for note in data.notes)


def test_labelme_files_beside_the_folder_of_pictures(tmp_path: Path) -> None:
    shapes = [{'label': 'box', 'shape_type': 'rectangle', 'points': [[30, 20], [10, 10]]}]
    source = labelme(tmp_path / 'all', shapes)
    for path in list(source.iterdir()):
        target = tmp_path / 'mine' / ('annotations' if path.suffix == '.json' else 'images') / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert as_boxes(tmp_path / 'mine').classes == ('box',)


def test_a_damaged_labelme_file_is_named(tmp_path: Path) -> None:
    root = labelme(tmp_path / 'mine', [{'label': 'box', 'shape_type': 'rectangle', 'points': [[30, 20], [10, 10]]}])
    (root / 'test image 1.json').write_text('{"shapes": [')
    with pytest.raises(ConversionError, match=r'test image 1\.json: is no readable JSON'):
        as_boxes(root)


def test_labelme_problems_are_named(tmp_path: Path) -> None:
    root = labelme(tmp_path / 'mine', [{'label': 'a', 'points': [[0, 0], ['x', 1], [2, 2]], 'shape_type': 'polygon'}])
    (root / 'test image 1.jpg').unlink()
    with pytest.raises(
        ConversionError, match=r'test image 0\.json: shape 0 cannot be read[\s\S]*its picture .* is not there'
    ):
        as_boxes(root)


# --- CVAT -------------------------------------------------------------------------------------------------------------


def cvat(root: Path, shapes: str, count: int = 3) -> Path:
    images = ''
    for index in range(count):
        picture(root / 'images' / 'sub' / f'{index}.png')
        images += f'<image id="{index}" name="sub/{index}.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
    labels = ''.join(f'<label><name>{name}</name></label>' for name in ('zebra', 'ape', 'unused'))
    meta = f'<meta><task><labels>{labels}</labels></task></meta>'
    (root / 'annotations.xml').write_text(
        f'<?xml version="1.0"?><annotations><version>1.1</version>{meta}{images}</annotations>'
    )
    return root


def test_cvat(tmp_path: Path) -> None:
    shapes = (
        '<box label="zebra" xtl="10.5" ytl="5" xbr="30.5" ybr="15" occluded="0"></box>'
        '<box label="zebra" xtl="20" ytl="10" xbr="40" ybr="20" rotation="90"/>'
        '<polygon label="ape" points="5,5;15,5;15,15"/>'
        '<mask label="ape" rle="1, 2, 1, 2, 2" left="50" top="36" width="4" height="2"/>'
        '<polyline label="ape" points="1,1;2,2"/><tag label="ape"/>'
    )
    data = as_boxes(cvat(tmp_path / 'mine', shapes))
    assert data.classes == ('zebra', 'ape')  # in the order of the labels
    (found, *_) = objects(data, 'train').values()
    assert found[0][:3] == ('zebra', [10.5, 5, 20, 10], None)
    assert found[1][:2] == ('zebra', [25, 5, 10, 20]) and found[1][2]
    assert found[2][:2] == ('ape', [5, 5, 10, 10])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[36, 51:53] = expected[37, 50:52] = 1
    assert np.array_equal(rle.decode(found[3][2]), expected) and found[3][1] == [50, 36, 3, 2]
    assert any('polyline (3), tag (3)' in note for note in data.notes)


def test_cvat_videos_and_lost_pictures_are_refused_in_words(tmp_path: Path) -> None:
    root = cvat(tmp_path / 'mine', '<box label="ape" xtl="1" ytl="1" xbr="9" ybr="9"/>')
    (root / 'images/sub/1.png').unlink()
    with pytest.raises(ConversionError, match='annotations.xml: its picture "sub/1.png"'):
        as_boxes(root)
    (root / 'annotations.xml').write_text('<annotations><track id="0" label="ape"/></annotations>')
    with pytest.raises(ConversionError, match='tracks of a video'):
        as_boxes(root)


# --- VOC --------------------------------------------------------------------------------------------------------------


def voc(
    root: Path, corners: tuple[Any, ...], *, count: int = 4, extra: str = '', size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    box = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True))
    about = f'<size><width>{size[0]}</width><height>{size[1]}</height></size>'
    for index in range(count):
        picture(root / 'JPEGImages' / f'my photo {index}.jpg')
        (root / 'Annotations').mkdir(exist_ok=True)
        text = f'<annotation>{about}{extra}<object><name> a dog </name><bndbox>{box}</bndbox></object></annotation>'
        (root / 'Annotations' / f'my photo {index}.xml').write_text(text)
    return root


def lists(root: Path, **names: str) -> None:
    folder = root / 'ImageSets/Main'
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in names.items():
        (folder / f'{name}.txt').write_text(text)


LABELIMG = '<path>/x.jpg</path><source><database>Unknown</database></source>'
PHOTOS = ''.join(f'my photo {index}\n' for index in range(4))


@pytest.mark.parametrize('name', ['default', 'trainval', 'latest', 'everything'])
def test_voc_lists_of_any_name_are_one_set(tmp_path: Path, name: str) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    lists(root, **{name: PHOTOS})
    data = as_boxes(root, val_share=0.5)
    assert [len(boxes(data, split)) for split in ('train', 'val')] == [2, 2]
    assert data.classes == ('a dog',)


def test_voc_lists_of_splits_go_before_lists_of_a_class(tmp_path: Path) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    of_class = 'my photo 0  1\nmy photo 1 -1\n'
    lists(root, train='my photo 0\nmy photo 1\n', val='my photo 2\nmy photo 3\nno objects\n', dog_train=of_class)
    picture(root / 'JPEGImages/no objects.png')
    data = as_boxes(root)
    assert list(boxes(data, 'train')) == ['my photo 0.jpg', 'my photo 1.jpg']
    assert boxes(data, 'val')['no objects.png'] == []  # listed, without XML
    lists(root, val='gone\n')
    with pytest.raises(ConversionError, match='gone: there is no picture'):
        as_boxes(root, force=True)


@pytest.mark.parametrize(
    ('corners', 'extra', 'option', 'box', 'why'),
    [
        ((1, 1, 60, 40), '', 'auto', [0, 0, 60, 40], 'first pixel is 1'),
        ((11, 6, 20, 15), '', 'auto', [10, 5, 10, 10], 'first pixel is 1'),
        ((0, 5, 20, 15), '', 'auto', [0, 5, 20, 10], 'has the corner 0'),
        ((10.5, 5, 20, 15), '', 'auto', [10.5, 5, 9.5, 10], 'has decimals'),
        (
            (11, 6, 20, 15),
            '<path>/x.jpg</path><source><database>Unknown</database></source>',
            'auto',
            [11, 6, 9, 9],
            'LabelImg',
        ),
        ((11, 6, 20, 15), '', '0', [11, 6, 9, 9], 'as asked for'),
        ((10.5, 5, 20, 15), '', '1', [9.5, 4, 10.5, 11], 'as asked for'),
    ],
)
def test_voc_corners_by_evidence(
    tmp_path: Path, corners: tuple[Any, ...], extra: str, option: str, box: list[float], why: str
) -> None:
    data = as_boxes(voc(tmp_path / 'mine', corners, extra=extra), corners=option)
    assert all(found == [('a dog', box)] for found in boxes(data, 'train').values())
    assert any(why in note for note in data.notes)


def test_voc_difficult_objects_are_left_out_of_training_and_said(tmp_path: Path) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    for path in (root / 'Annotations').glob('*.xml'):
        text = path.read_text()
        start = text.index('<object>')
        more = text[start:].replace('</object>', '<difficult>1</difficult></object>', 1).replace('30', '25')
        path.write_text(text[: text.index('</annotation>')] + more)
    data = as_boxes(root)
    assert [crowd for _, _, _, crowd in next(iter(objects(data, 'train').values()))] == [0, 1]
    assert any('4 of 8 objects are marked difficult' in note for note in data.notes)


def test_a_voc_class_of_difficult_objects_only_is_a_hint(tmp_path: Path) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    for path in (root / 'Annotations').glob('*.xml'):
        text = path.read_text()
        start = text.index('<object>')
        more = text[start:].replace('</object>', '<difficult>1</difficult></object>', 1).replace('a dog', 'a cat')
        path.write_text(text[: text.index('</annotation>')] + more)
    made = new_dataset(root, tmp_path / 'mine.py')
    said = '\n'.join(report.render() for report in made.reports.values())
    assert made.ok and made.perfect['val'].scores == {'box AP': 1.0} and made.vocabulary.names == ('a cat', 'a dog')
    assert 'objects are marked difficult, which training and scores leave out' in said and 'iscrowd' not in said
    assert 'all objects of a cat are marked difficult, so nothing is learnt of it' in said
    taken = new_dataset(root, tmp_path / 'mine.py', crowds='objects', force=True)
    assert taken.ok and not any(count.crowd for count in taken.reports['train'].classes.values())


def test_voc_folders_of_splits(tmp_path: Path) -> None:
    for split in ('train', 'valid'):
        root = voc(tmp_path / split, (10, 10, 20, 30), count=2)
        for kind in ('JPEGImages', 'Annotations'):
            for path in list((root / kind).iterdir()):
                target = tmp_path / 'mine' / split / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    data = as_boxes(tmp_path / 'mine')
    assert list(boxes(data, 'val')) == ['valid/my photo 0.jpg', 'valid/my photo 1.jpg']


@pytest.mark.parametrize(
    ('annotations', 'pictures'),
    [('annotations', 'images'), ('Annotations', 'images'), ('train/annotations', 'train/images'), ('xmls', 'img')],
)
def test_voc_files_in_a_folder_beside_that_of_the_pictures(tmp_path: Path, annotations: str, pictures: str) -> None:
    source = voc(tmp_path / 'voc', (10, 10, 20, 30))
    root = tmp_path / 'mine'
    (root / annotations).parent.mkdir(parents=True)
    (source / 'Annotations').rename(root / annotations)
    (source / 'JPEGImages').rename(root / pictures)
    data = as_boxes(root, val_share=0.5)
    assert [len(boxes(data, split)) for split in ('train', 'val')] == [2, 2]


def test_voc_of_supervision_on_a_turned_picture(tmp_path: Path) -> None:
    root = voc(tmp_path / 'mine', (1, 41, 40, 60), size=(HEIGHT, WIDTH))  # upright, as cv2 reads it
    for path in (root / 'JPEGImages').glob('*.jpg'):
        picture(path, exif=6)
    data = as_boxes(root)
    assert data.size == (HEIGHT, WIDTH)
    assert all(found == [('a dog', [0, 40, 40, 20])] for found in boxes(data, 'train').values())


def test_a_damaged_picture_hides_no_other_finding(tmp_path: Path) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    (root / 'JPEGImages/my photo 0.jpg').write_bytes(b'no picture')
    (root / 'JPEGImages/my photo 1.jpg').write_bytes(b'')
    for path in (root / 'Annotations').glob('*.xml'):
        path.write_text(path.read_text().replace('</object>', '<difficult>1</difficult></object>'))
    made = new_dataset(root, tmp_path / 'mine.py', val_share=0.5)
    said = '\n'.join(report.render() for report in made.reports.values())
    assert not made.ok and 'my photo 0.jpg: cannot be read' in said and 'my photo 1.jpg' in said
    assert 'a dog: all of its 2 objects are marked iscrowd=1' in said


@pytest.mark.parametrize('text', ['<?xml version="1.0" encoding="none"?><annotation/>', '<annotation>', ''])
def test_xml_files_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    root = voc(tmp_path / 'mine', (10, 10, 20, 30))
    (root / 'Annotations/my photo 2.xml').write_text(text)
    with pytest.raises(ConversionError, match=r'my photo 2\.xml: not a readable VOC annotation'):
        as_boxes(root)


def test_voc_boxes_beyond_the_picture_are_cut_only_where_the_size_is_known(tmp_path: Path) -> None:
    data = as_boxes(voc(tmp_path / 'mine', (5, 5, 70, 20)))
    assert all(found == [('a dog', [4, 4, 56, 16])] for found in boxes(data, 'train').values())
    assert any('beyond their pictures are cut' in note for note in data.notes)
    other = as_boxes(voc(tmp_path / 'two' / 'mine', (5, 5, 70, 20), size=(120, 80)))
    assert all(found == [('a dog', [4, 4, 66, 16])] for found in boxes(other, 'train').values())
    assert any('say another size' in note for note in other.notes)


@pytest.mark.parametrize('kind', ['labelme', 'voc'])
def test_a_list_of_classes_says_their_order_where_files_hold_names(tmp_path: Path, kind: str) -> None:
    root = tmp_path / 'own'
    root.mkdir()
    if kind == 'voc':
        box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
        voc(root, (1, 2, 3, 4), extra=f'<object><name>wolf</name>{box}</object>')
    else:
        labelme(root, [dict(label=name, points=[[1, 1], [9, 9]], shape_type='rectangle') for name in ('a dog', 'wolf')])
    assert as_boxes(root).classes == ('a dog', 'wolf')
    (root / 'classes.txt').write_text('wolf\na dog\n')
    data = as_boxes(root, force=True)
    assert data.classes == ('wolf', 'a dog') and any('classes.txt' in note for note in data.notes)
    assert {name for listed in boxes(data, 'train').values() for name, _ in listed} == {'a dog', 'wolf'}


def test_a_blank_line_among_the_classes_of_yolo_is_refused(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'own', 'yaml', inside_out=False)
    (root / 'data.yaml').unlink()
    (root / 'classes.txt').write_text('cat\n\ndog\n')
    with pytest.raises(ConversionError, match=r'classes\.txt: line 2 is blank'):
        as_boxes(root)


YOLO_NAMES = 'names: [cat, dog, cow]\n'


def test_a_missing_test_entry_of_yolo_keeps_the_split(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'own', YOLO_NAMES + 'train: first\nval: second\ntest: third', inside_out=False)
    for part in ('images', 'labels'):
        (root / part / 'train').rename(root / part / 'a')
        (root / part / 'val').rename(root / part / 'b')
    text = YOLO_NAMES + 'train: images/a\nval: images/b\ntest: images/c'
    (root / 'data.yaml').write_text(text)
    data = as_boxes(root)
    assert [len(boxes(data, split)) for split in ('train', 'val')] == [3, 3] and 'test' not in data.splits
    assert any('"test: images/c" names no picture' in note for note in data.notes)
    (root / 'data.yaml').write_text(text.replace('images/b', 'images/z'))
    with pytest.raises(ConversionError, match='"val: images/z" names no picture'):
        as_boxes(root, force=True)


def test_pictures_to_train_on_are_in_no_other_split(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'own', YOLO_NAMES + 'train: images\nval: images/val', inside_out=False)
    with pytest.raises(ConversionError, match='3 pictures are in train and again in val'):
        as_boxes(root)


def test_coco_files_that_share_a_picture_are_refused(tmp_path: Path) -> None:
    category = [{'id': 1, 'name': 'cat'}]
    for split, names in (('train', '012'), ('val', '23')):
        images = [{'id': int(n), 'file_name': f'{n}.jpg', 'height': HEIGHT, 'width': WIDTH} for n in names]
        found = [{'id': int(n) + 1, 'image_id': int(n), 'category_id': 1, 'bbox': [1, 1, 4, 4]} for n in names]
        content = {'images': images, 'annotations': found, 'categories': category}
        (tmp_path / 'own' / 'annotations').mkdir(parents=True, exist_ok=True)
        (tmp_path / 'own' / f'annotations/instances_{split}.json').write_text(json.dumps(content))
    for n in '0123':
        picture(tmp_path / 'own' / 'images' / f'{n}.jpg')
    with pytest.raises(ConversionError, match=r'1 pictures are in train and again in val, such as .*2\.jpg'):
        as_boxes(tmp_path / 'own')


def test_what_yolo_leaves_out_is_said(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'own', YOLO_NAMES, inside_out=False)
    (root / 'images/train/0.jpg').rename(root / 'images/train/0.JFIF')
    for name in ('images/train/1.heic', 'images/train/.ipynb_checkpoints/0.jpg', '__MACOSX/images/train/._0.jpg'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / 'images/train/1.jpg').unlink()
    (root / 'images/linked').symlink_to(picture(tmp_path / 'other/2.jpg').parent)
    data = as_boxes(root)
    assert {Path(name).name for name in boxes(data, 'train')} == {'0.JFIF', 'empty.jpg'}
    assert any('.heic (1)' in note for note in data.notes)
    assert any(note.startswith('1 files of labels have no picture') and '1.txt' in note for note in data.notes)
    assert any(note.startswith('1 pictures outside the folders of splits') for note in data.notes)


def test_two_pictures_of_one_stem_are_told_apart_or_refused(tmp_path: Path) -> None:
    root = yolo(tmp_path / 'yolo', YOLO_NAMES, inside_out=False)
    shutil.copy(root / 'images/train/0.jpg', root / 'images/train/0.jpeg')
    with pytest.raises(ConversionError, match=r'0\.jpe?g and .*0\.jpe?g have one file of labels'):
        as_boxes(root)
    root = voc(tmp_path / 'voc', (1, 2, 3, 4), extra='<filename>my photo 0.png</filename>')
    (root / 'JPEGImages/my photo 0.jpg').rename(root / 'JPEGImages/other.jpg')
    shutil.copy(root / 'JPEGImages/other.jpg', root / 'JPEGImages/my photo 0.bmp')
    picture(root / 'JPEGImages/my photo 0.png')
    data = as_boxes(root)  # the names in the others are stale, and theirs alone have their stem
    names = {Path(name).name for split in ('train', 'val') for name in boxes(data, split)}
    assert names == {'my photo 0.png', *(f'my photo {n}.jpg' for n in (1, 2, 3))}
    (root / 'JPEGImages/my photo 0.png').unlink()
    picture(root / 'JPEGImages/my photo 0.webp')
    with pytest.raises(ConversionError, match='have one name, and nothing says which'):
        as_boxes(root, force=True)
