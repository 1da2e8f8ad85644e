"""What annotation tools export becomes objects with their names, masks, holes and crowds."""

import base64
import io
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import recognise
from denseclip.structures.brush import encode_brush
from denseclip.structures.run_lengths import run_lengths

HEIGHT, WIDTH = 40, 56
NAME = 'Grüße & <co> 100%.png'


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(path)


def ring() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 10:30] = True
    mask[10:20, 15:25] = False
    return mask


def read(folder: Path, **options):
    """Name, mask or box, and crowd of each object of each picture."""
    data = recognise(folder, converted=folder.with_name('made'), crowds='keep', **options)
    found: dict[str, list[tuple]] = {}
    for split, part in data.splits.items():
        content = read_coco(part.ann_file)
        names = {entry['id']: entry['name'] for entry in content['categories']}
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        for image in content['images']:
            assert (part.pictures / image['file_name']).is_file()
            found[f'{split}:{image["file_name"]}'] = [
                (names[o['category_id']], coco.annToMask(o) > 0 if o.get('segmentation') else o['bbox'], o['iscrowd'])
                for o in coco.imgToAnns[image['id']]
            ]
    return found, data


# --- Datumaro ---------------------------------------------------------------------------------------------------------


def datumaro(folder: Path, annotations: list, subset: str = 'default', count: int = 2) -> Path:
    items = []
    for place in range(count):
        picture(folder / 'images' / subset / f'{place}{NAME}')
        items.append(
            {'id': f'{place}', 'annotations': annotations, 'image': {'path': f'{place}{NAME}', 'size': [40, 56]}}
        )
    labels = [{'name': name, 'parent': '', 'attributes': []} for name in ('straße', 'b')]
    content = {'dm_format_version': '1.0', 'categories': {'label': {'labels': labels}}, 'items': items}
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    (folder / f'annotations/{subset}.json').write_text(json.dumps(content))
    return folder


def test_datumaro_keeps_holes_crowds_and_groups(tmp_path):
    common = {'label_id': 0, 'group': 1, 'attributes': {}}
    annotations = [
        {**common, 'type': 'bbox', 'bbox': [10, 5, 20, 20]},
        {**common, 'type': 'mask', 'rle': run_lengths(ring()), 'attributes': {'is_crowd': True}},
        {'label_id': 1, 'group': 0, 'attributes': {}, 'type': 'polygon', 'points': [0, 0, 8, 0, 8, 4, 0, 4]},
        {'label_id': 1, 'group': 0, 'attributes': {}, 'type': 'bbox', 'bbox': [30, 30, 5, 6]},
        {'label_id': 0, 'group': 0, 'attributes': {}, 'type': 'label'},
    ]
    for subset in ('train', 'val'):
        datumaro(tmp_path / 'set', annotations, subset)
    found, data = read(tmp_path / 'set')
    assert data.classes == ('straße', 'b') and len(found) == 4 and f'train:0{NAME}' in found
    for (name, mask, crowd), (other, piece, plain), (_, box, _) in found.values():
        assert (name, crowd, other, plain) == ('straße', 1, 'b', 0)
        np.testing.assert_array_equal(mask, ring())
        assert piece.sum() == 32 and piece[:4, :8].all()
        assert box == [30, 30, 5, 6]
    assert any('label (' in note for note in data.notes)


def test_datumaro_that_is_damaged_is_named(tmp_path):
    datumaro(tmp_path / 'set', [{'label_id': 7, 'type': 'bbox', 'bbox': [1, 1, 5, 5]}])
    with pytest.raises(ConversionError, match='there is no label 7'):
        read(tmp_path / 'set')
    datumaro(tmp_path / 'other', [{'label_id': 0, 'type': 'mask', 'rle': {'size': [40, 56], 'counts': 'x'}}])
    with pytest.raises(ConversionError, match=r'annotation 0 \(mask\) cannot be read'):
        read(tmp_path / 'other')
    (tmp_path / 'other/images/default' / f'0{NAME}').unlink()
    with pytest.raises(ConversionError, match='its picture'):
        read(tmp_path / 'other')


# --- Label Studio -----------------------------------------------------------------------------------------------------


def entry(kind: str, value: dict, name: str = 'straße') -> dict:
    sizes = {'original_width': WIDTH, 'original_height': HEIGHT, 'image_rotation': 0}
    return {'id': 'x', 'type': kind, 'from_name': 'a', 'to_name': 'b', **sizes, 'value': {**value, kind: [name]}}


def task(name: str, results: list | None, predicted: list | None = None, **said) -> dict:
    made = [] if results is None else [{'result': results, 'was_cancelled': False, **said}]
    before = [] if predicted is None else [{'result': predicted}]
    return {'id': 1, 'data': {'image': name}, 'annotations': made, 'predictions': before}


def project(folder: Path, tasks: list) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'project-7.json').write_text(json.dumps(tasks))
    return folder


def test_label_studio_reads_every_shape(tmp_path):
    png = io.BytesIO()
    Image.fromarray(np.where(ring()[..., None], 255, 0).astype(np.uint8).repeat(4, 2), 'RGBA').save(png, 'PNG')
    data_url = 'data:image/png;base64,' + base64.b64encode(png.getvalue()).decode()
    results = [
        entry('brushlabels', {'format': 'rle', 'rle': encode_brush(ring())}),
        entry('bitmasklabels', {'imageDataURL': data_url}),
        entry('polygonlabels', {'points': [[0, 0], [100 * 8 / WIDTH, 0], [100 * 8 / WIDTH, 10], [0, 10]]}, 'b'),
        entry('rectanglelabels', {'x': 50, 'y': 50, 'width': 25, 'height': 25, 'rotation': 0}, 'b'),
        entry('rectanglelabels', {'x': 50, 'y': 25, 'width': 25, 'height': 25, 'rotation': 90}, 'b'),
        entry('ellipselabels', {'x': 50, 'y': 50, 'radiusX': 100 * 9 / WIDTH, 'radiusY': 10, 'rotation': 0}, 'b'),
        entry('keypointlabels', {'x': 50, 'y': 50, 'width': 1}, 'b'),
        {'id': 'y', 'type': 'rectangle', 'original_width': WIDTH, 'original_height': HEIGHT, 'value': {'x': 1}},
    ]
    picture(tmp_path / 'set/images' / NAME)
    picture(tmp_path / 'set/upload/other.png')
    address = '/data/local-files/?d=images/Gr%C3%BC%C3%9Fe%20%26%20%3Cco%3E%20100%25.png'
    project(tmp_path / 'set', [task(address, results), task('/data/upload/1/0a1b2c3d-other.png', [])])
    (tmp_path / 'set/label_config.xml').write_text('<View><Label value="b"/><Label value="straße"/></View>')
    (tmp_path / 'set/upload/other.png').rename(tmp_path / 'set/other.png')
    found, data = read(tmp_path / 'set', val_share=0.5)
    assert data.classes[0] == 'b' or len(data.classes) == 1
    assert any('keypointlabels (1)' in note for note in data.notes)
    by_name = {name.partition(':')[2]: objects for name, objects in found.items()}
    assert by_name['other.png'] == []
    brush, bitmask, polygon, box, turned, ellipse = (value for _, value, _ in by_name[f'images/{NAME}'])
    np.testing.assert_array_equal(brush, ring())
    np.testing.assert_array_equal(bitmask, ring())
    assert polygon.sum() == 32 and polygon[:4, :8].all()
    assert box == [28, 20, 14, 10]
    assert turned.sum() == 140 and turned[10:24, 18:28].all()  # about its first corner, clockwise
    assert abs(ellipse.sum() - math.pi * 9 * 4) < 8


def test_label_studio_takes_what_people_said_last(tmp_path):
    box = {'x': 0, 'y': 0, 'width': 50, 'height': 50, 'rotation': 0}
    small = {**box, 'width': 25}
    for name in 'abcd':
        picture(tmp_path / f'set/{name}.png')
    tasks = [
        task('a.png', [entry('rectanglelabels', box)], [entry('rectanglelabels', small)]),
        task('b.png', None, [entry('rectanglelabels', small)]),
        task('c.png', None),
        task('d.png', [entry('rectanglelabels', small)], updated_at='2026-01-02'),
    ]
    tasks[3]['annotations'] += [
        {'result': [entry('rectanglelabels', box)], 'updated_at': '2026-03-01', 'was_cancelled': True},
        {'result': [entry('rectanglelabels', box)], 'updated_at': '2025-03-01', 'was_cancelled': False},
    ]
    project(tmp_path / 'set', tasks)
    found, data = read(tmp_path / 'set', val_share=0.34)
    widths = {name[-5]: objects[0][1][2] for name, objects in found.items()}
    assert widths == {'a': 28, 'b': 14, 'd': 14}
    said = ' '.join(data.notes)
    assert '1 pictures that nobody has looked at are left out' in said
    assert '1 pictures that nobody has looked at have what a model predicted' in said
    assert '1 pictures have several annotations' in said


def test_the_short_form_of_label_studio(tmp_path):
    sizes = {'original_width': WIDTH, 'original_height': HEIGHT}
    box = {'x': 0, 'y': 0, 'width': 50, 'height': 50, 'rotation': 0, 'rectanglelabels': ['straße'], **sizes}
    for name in 'ab':
        picture(tmp_path / f'set/{name}.png')
    project(tmp_path / 'set', [{'id': k, 'image': f'{name}.png', 'label': [box]} for k, name in enumerate('ab')])
    found, _ = read(tmp_path / 'set')
    assert list(found.values()) == [[('straße', [0, 0, 28, 20], 0)]] * 2


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        ({'format': 'rle', 'rle': [1, 2]}, 'run lengths speak of'),
        ({'points': [[1, 1], [2, 2]]}, 'three points'),
        ({'imageDataURL': 'data:image/png;base64,AAAA'}, 'no picture'),
    ],
)
def test_label_studio_that_is_damaged_is_named(tmp_path, value, said):
    picture(tmp_path / 'set/a.png')
    project(tmp_path / 'set', [task('a.png', [entry('brushlabels', value)])])
    with pytest.raises(ConversionError, match=f'task 1 .a.png.: a shape cannot be read .*{said}'):
        read(tmp_path / 'set')


# --- FiftyOne ---------------------------------------------------------------------------------------------------------

PACKED = (
    'eJyb7BfqGxDJyFDGUK2eklqcXKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RqGBjoKhkaaOgq1CmQCLgbcgBEG8LIZ'
    'iFCDhQ0AhqocCw=='
)
"""A mask as FiftyOne 1.22.1 wrote it: 10 x 12, true from row 2 and column 3 on, but for (5, 5)."""


def fiftyone(folder: Path, fields: list[dict]) -> Path:
    samples = []
    for place, field in enumerate(fields):
        picture(folder / f'data/{place}{NAME}')
        tags = ['checked', 'train' if place % 2 == 0 else 'validation']
        samples.append({'filepath': f'data/{place}{NAME}', 'tags': tags, 'metadata': None, **field})
    (folder / 'samples.json').write_text(json.dumps({'samples': samples}))
    (folder / 'metadata.json').write_text('{"name": "x", "version": "1.22.1"}')
    return folder


def detections(*found: dict) -> dict:
    return {'_cls': 'Detections', 'detections': [{'_cls': 'Detection', 'label': 'straße', **entry} for entry in found]}


def test_fiftyone_keeps_holes_and_crowds(tmp_path):
    place = [10 / WIDTH, 8 / HEIGHT, 12 / WIDTH, 10 / HEIGHT]
    mask = {'$binary': {'base64': PACKED, 'subType': '00'}}
    line = {'_cls': 'Polyline', 'label': 'b', 'points': [[[0, 0], [8 / WIDTH, 0], [8 / WIDTH, 0.1], [0, 0.1]]]}
    labels = detections({'bounding_box': place, 'mask': mask, 'iscrowd': True}, {'bounding_box': place})
    short = {**line, 'closed': True, 'points': [[[0, 0], [0.5, 0.5]]]}
    lines = {'_cls': 'Polylines', 'polylines': [{**line, 'closed': True}, {**line, 'closed': False}, short]}
    fiftyone(tmp_path / 'set', [{'ground_truth': labels, 'other': labels}, {'ground_truth': lines}])
    found, data = read(tmp_path / 'set')
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[10:18, 13:22] = True
    wanted[13, 15] = False
    (name, pixels, crowd), (_, box, plain) = found[f'train:data/0{NAME}']
    assert (name, crowd, plain, box) == ('straße', 1, 0, [10, 8, 12, 10])
    np.testing.assert_array_equal(pixels, wanted)
    [(other, piece, _)] = found[f'val:data/1{NAME}']
    assert other == 'b' and piece.sum() == 32
    assert any('"ground_truth" are read' in note for note in data.notes)
    [line] = [note for note in data.notes if note.startswith('left out')]
    assert 'neither closed nor filled (1)' in line and 'fewer than three points (1)' in line


def test_fiftyone_with_fields_side_by_side_is_refused(tmp_path):
    labels = detections({'bounding_box': [0, 0, 0.5, 0.5]})
    fiftyone(tmp_path / 'set', [{'mine': labels, 'yours': labels}])
    with pytest.raises(ConversionError, match='the fields mine, yours have labels'):
        read(tmp_path / 'set')


def test_fiftyone_does_not_take_predictions_for_the_truth(tmp_path):
    labels = detections({'bounding_box': [0, 0, 0.5, 0.5]})
    fiftyone(tmp_path / 'set', [{'ground_truth': {'_cls': 'Segmentation'}, 'predictions': labels}])
    with pytest.raises(ConversionError, match='"ground_truth" is of the kind Segmentation.* of "predictions"'):
        read(tmp_path / 'set')


def test_a_sample_of_two_splits_and_a_mask_as_text_are_told(tmp_path):
    labels = detections({'bounding_box': [0, 0, 0.5, 0.5], 'mask': PACKED})
    fiftyone(tmp_path / 'set', [{'ground_truth': labels}] * 2)
    path = tmp_path / 'set/samples.json'
    content = json.loads(path.read_text())
    content['samples'][1]['tags'] = ['train', 'val']
    path.write_text(json.dumps(content))
    with pytest.raises(ConversionError, match='its mask is str') as caught:
        read(tmp_path / 'set')
    assert 'has tags of the splits train, val; keep one' in str(caught.value)


def test_a_mask_of_objects_is_never_unpickled(tmp_path):
    out = io.BytesIO()
    np.save(out, np.array([[print]], dtype=object), allow_pickle=True)
    mask = {'$binary': {'base64': base64.b64encode(zlib.compress(out.getvalue())).decode(), 'subType': '00'}}
    fiftyone(tmp_path / 'set', [{'ground_truth': detections({'bounding_box': [0, 0, 0.5, 0.5], 'mask': mask})}])
    with pytest.raises(ConversionError, match='cannot be read .*allow_pickle=False'):
        read(tmp_path / 'set')


def test_a_picture_that_is_there_twice_is_told(tmp_path):
    labels = detections({'bounding_box': [0, 0, 0.5, 0.5]})
    fiftyone(tmp_path / 'set', [{'ground_truth': labels}])
    path = tmp_path / 'set/samples.json'
    content = json.loads(path.read_text())
    content['samples'] *= 2
    path.write_text(json.dumps(content))
    with pytest.raises(ConversionError, match='is there twice'):
        read(tmp_path / 'set')


def test_run_lengths_of_another_picture_are_told(tmp_path):
    wide = rle.encode(np.asfortranarray(np.ones((4, 4), np.uint8)))
    code = {'size': [4, 4], 'counts': wide['counts'].decode()}
    datumaro(tmp_path / 'set', [{'label_id': 0, 'group': 0, 'attributes': {}, 'type': 'mask', 'rle': code}])
    with pytest.raises(ConversionError, match=r'a mask is of \(4, 4\) pixels'):
        read(tmp_path / 'set')
