"""Every layout is read back by ``new-dataset``'s readers and gives the labels that were written."""

import json

import cv2
import numpy as np
import pytest
from drawn_teacher import DrawnTeacher, draw_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO

from denseclip.apis.errors import UserError
from denseclip.apis.images import read_image
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import Rules
from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.own_data import BoxData, recognise

NAMES = ('a "quoted" <b>&amp;</b>', 'yes', "straße; it's {x}: 1,2,3", '# not a comment')
MASKED = ('coco', 'yolo', 'labelme', 'cvat', 'datumaro', 'label-studio', 'fiftyone')


@pytest.fixture
def shots(tmp_path):
    """Five pictures of three sizes, with equal names in several folders."""
    for place, name in enumerate(('a.png', 'in/a.png', 'in/train/a.png', 'masks/b.png', 'in/a.bmp')):
        draw_picture(tmp_path / 'shots' / name, place, (40 - place // 2 * 7, 56))
    return tmp_path / 'shots'


def label(shots, out, layout, teacher, **options):
    rules = Rules(**options.pop('rules', {}))
    return label_folder(shots, out, lambda: teacher, Order(layout, rules, **options))


def read_boxes(out, made):
    """Class name, box and mask of all objects by picture, whatever the layout."""
    data = recognise(out, converted=made, kind='boxes')
    assert isinstance(data, BoxData)
    found = {}
    for split in data.splits.values():
        content = read_coco(split.ann_file)
        names = {entry['id']: entry['name'] for entry in content['categories']}
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        for image in content['images']:
            picture = split.pictures / image['file_name']
            objects = coco.imgToAnns[image['id']]
            found[picture.resolve()] = [
                (names[o['category_id']], o['bbox'], coco.annToMask(o) > 0 if o.get('segmentation') else None)
                for o in objects
            ]
            assert not any(o['iscrowd'] for o in objects)
    return found


def by_class(objects, name, shape):
    masks = [mask for named, _, mask in objects if named == name]
    return np.logical_or.reduce(masks) if masks else np.zeros(shape, bool)


@pytest.mark.parametrize('tolerance', [0.0, 2.0])
@pytest.mark.parametrize('layout', MASKED)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), split=st.booleans())
def test_masks_come_back(tmp_path_factory, layout, tolerance, seed, split):
    root = tmp_path_factory.mktemp('set')
    for place, name in enumerate(('a.png', 'in/a.png', 'in/masks/a.png')):
        draw_picture(root / 'shots' / name, seed + place, (24 + seed % 9, 31))
    teacher = DrawnTeacher(list(NAMES))
    label(root / 'shots', root / 'out', layout, teacher, tolerance=tolerance, rules={'split_regions': split})
    found = read_boxes(root / 'out', root / 'made')
    shots = [path.read_bytes() for path in (root / 'shots').rglob('*.png')]
    assert sorted(path.read_bytes() for path in found) == sorted(shots)
    for path, objects in found.items():
        truth = teacher.labels(read_image(path, 'rgb'))
        for k, name in enumerate(NAMES):
            here, wanted = by_class(objects, name, truth.shape), truth == k
            if not tolerance:
                np.testing.assert_array_equal(here, wanted)
                continue
            edge = cv2.distanceTransform((~border(wanted)).astype(np.uint8), cv2.DIST_L2, 5)
            assert edge[here != wanted].max(initial=0) <= tolerance + 1


def border(mask):
    """Pixels beside one of the other kind, or beside the edge of the picture: outlines run there."""
    kernel = np.ones((3, 3), np.uint8)
    value = np.pad(mask.astype(np.uint8), 1)
    return ((cv2.dilate(value, kernel) != value) | (cv2.erode(value, kernel) != value))[1:-1, 1:-1]


def test_label_maps_come_back(shots, tmp_path):
    teacher = DrawnTeacher(list(NAMES))
    label(shots, tmp_path / 'out', 'masks', teacher)
    data = recognise(tmp_path / 'out', converted=tmp_path / 'made')
    assert data.names == NAMES
    seen = 0
    for split in data.splits.values():
        for pair in split.pairs:
            ids, _ = data.reader.read(pair.label)
            np.testing.assert_array_equal(ids, teacher.labels(read_image(pair.picture, 'rgb')))
            seen += 1
    assert seen == 5


def test_a_background_is_a_class_of_label_maps_alone(shots, tmp_path):
    words = {'classes': {'road': [], 'car': []}, 'background': 'prompts', 'background_names': ['other']}
    teacher = DrawnTeacher(words)
    label(shots, tmp_path / 'maps', 'masks', teacher)
    data = recognise(tmp_path / 'maps', converted=tmp_path / 'made')
    assert data.names == ('road', 'car', 'background') and data.ids == (0, 1, 2)
    label(shots, tmp_path / 'coco', 'coco', teacher)
    content = read_coco(tmp_path / 'coco/annotations/instances.json')
    assert [entry['name'] for entry in content['categories']] == ['road', 'car']
    assert {entry['category_id'] for entry in content['annotations']} == {1, 2}


def test_boxes_come_back_as_whole_pixels(shots, tmp_path):
    teacher = DrawnTeacher(list(NAMES))
    label(shots, tmp_path / 'out', 'voc', teacher)
    exact = label(shots, tmp_path / 'coco', 'coco', teacher)
    found = read_boxes(tmp_path / 'out', tmp_path / 'made')
    for record in exact.records:
        x = [(NAMES[o.label], [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]]) for o in record.objects]
        assert [(name, box) for name, box, _ in found[(shots / record.source).resolve()]] == x


@pytest.mark.parametrize('layout', [*MASKED, 'voc'])
def test_detectors_give_boxes(shots, tmp_path, layout):
    teacher = DrawnTeacher('road; car; sky', 'instance', boxes=True)
    label(shots, tmp_path / 'out', layout, teacher)
    found = read_boxes(tmp_path / 'out', tmp_path / 'made')
    for path, objects in found.items():
        result = teacher(path)
        wanted = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in result.boxes.tolist()]
        assert [name for name, _, _ in objects] == [result.names[k] for k in result.labels]
        np.testing.assert_allclose([box for _, box, _ in objects], wanted, atol=1e-4)
    with pytest.raises(UserError, match='without masks'):
        label(shots, tmp_path / 'maps', 'masks', teacher)


def test_what_a_detector_does_not_find_is_background_in_label_maps(shots, tmp_path):
    teacher = DrawnTeacher('road; car; sky', 'instance')
    label(shots, tmp_path / 'out', 'masks', teacher, rules={'min_confidence': 0.6})
    data = recognise(tmp_path / 'out', converted=tmp_path / 'made')
    assert data.names == ('road', 'car', 'sky', 'background')
    pair = data.splits['train'].pairs[0]
    truth = teacher.labels(read_image(pair.picture, 'rgb'))
    np.testing.assert_array_equal(data.reader.read(pair.label)[0], np.where(truth == 2, 3, truth))


def test_coco_is_what_pycocotools_reads(shots, tmp_path, capsys):
    teacher = DrawnTeacher(list(NAMES))
    label(shots, tmp_path / 'out', 'coco', teacher, tolerance=1.0)
    coco = COCO(str(tmp_path / 'out/annotations/instances.json'))
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
    assert coco.getCatIds() == [1, 2, 3, 4]
    for entry in coco.anns.values():
        assert rle.area(coco.annToRLE(entry)) > 0 and entry['area'] > 0 and 0 < entry['score'] <= 1


def test_classes_keep_the_order_of_the_words(shots, tmp_path):
    words = ['zebra', 'ant', 'middle']
    for layout in LAYOUTS:
        label(shots, tmp_path / layout, layout, DrawnTeacher(words))
    assert (tmp_path / 'yolo/data.yaml').read_text().index('zebra') < (tmp_path / 'yolo/data.yaml').read_text().index(
        'ant'
    )
    for layout in ('voc', 'labelme'):
        assert (tmp_path / layout / 'classes.txt').read_text().split() == words
    for layout in ('coco', 'yolo', 'cvat', 'datumaro', 'label-studio', 'fiftyone'):
        data = recognise(tmp_path / layout, converted=tmp_path / f'made-{layout}')
        assert data.classes == tuple(words)


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_splits_stay_splits(tmp_path, layout):
    for place, name in enumerate(('train/a.png', 'train/far/b.png', 'valid/a.png', 'test/c.png')):
        draw_picture(tmp_path / 'shots' / name, place)
    label(tmp_path / 'shots', tmp_path / 'out', layout, DrawnTeacher())
    data = recognise(tmp_path / 'out', converted=tmp_path / 'made')
    if isinstance(data, BoxData):
        counts = {split: len(read_coco(part.ann_file)['images']) for split, part in data.splits.items()}
    else:
        counts = {split: len(part.pairs) for split, part in data.splits.items()}
    assert counts == {'train': 2, 'val': 1, 'test': 1}


def test_names_that_a_layout_cannot_hold_are_refused(shots, tmp_path):
    for layout, name in (('masks', '__ignore__'), ('labelme', '_background_'), ('coco', 'a\x1b[0m')):
        with pytest.raises(UserError, match='call the class otherwise|invisible'):
            label(shots, tmp_path / layout, layout, DrawnTeacher([name, 'other']))
        assert not (tmp_path / layout).exists()
    with pytest.raises(UserError, match='255 classes'):
        label(shots, tmp_path / 'many', 'masks', DrawnTeacher([f'class {k}' for k in range(300)]))
    most = DrawnTeacher([f'class {k}' for k in range(255)], 'instance')
    with pytest.raises(UserError, match='255 classes, here are 256 with the background'):  # 255 is no class in a PNG
        label(shots, tmp_path / 'one more', 'masks', most)
    label(shots, tmp_path / 'all', 'masks', DrawnTeacher([f'class {k}' for k in range(255)]))
    assert (tmp_path / 'all/_classes.csv').read_text().splitlines()[-1] == '254, class 254'


def test_other_pictures_than_readers_know_are_made_png(tmp_path):
    draw_picture(tmp_path / 'shots/a.gif', 0)
    draw_picture(tmp_path / 'shots/b.png', 1)
    label(tmp_path / 'shots', tmp_path / 'out', 'coco', DrawnTeacher())
    content = json.loads((tmp_path / 'out/annotations/instances.json').read_text())
    assert [image['file_name'] for image in content['images']] == ['a.png', 'b.png']
    assert (tmp_path / 'out/images/a.png').is_file() and not (tmp_path / 'out/images/a.png').is_symlink()
    assert len(read_boxes(tmp_path / 'out', tmp_path / 'made')) == 2
