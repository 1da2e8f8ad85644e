"""Every layout is read by the real data set classes, and holds what was drawn."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset, CocoPanopticDataset, VOCDataset
from mmseg.datasets import (
    ADE20KDataset,
    CityscapesDataset,
    COCOStuffDataset,
    PascalContextDataset,
    PascalContextDataset59,
    PascalVOCDataset,
)
from PIL import Image
from pycocotools.coco import COCO

from denseclip.datasets import (
    CaptionedImages,
    COCOObjectDataset,
    MiniworldDataset,
    MVTecADDataset,
    PascalVOC20Dataset,
    VisADataset,
)
from denseclip.datasets.miniworld import CLASSES, LAYOUTS, UNSEEN, MiniworldError, Writing, world, write_miniworld
from denseclip.datasets.miniworld.grammar import held_out_pairs
from denseclip.datasets.miniworld.kinds import NUM_THINGS, metainfo
from denseclip.datasets.miniworld.layouts.base import Request
from denseclip.datasets.miniworld.parts import DEFECTS, PARTS

COUNT, VAL, SIZE = 4, 2, (48, 64)
LOAD = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """Every layout, written once."""
    top = tmp_path_factory.mktemp('miniworld')
    return {
        name: write_miniworld(
            name,
            top / name,
            count=1 if name in ('mvtec', 'visa') else COUNT,
            val_count=6 if name in ('mvtec', 'visa') else VAL,
            size=SIZE,
        )
        for name in LAYOUTS
    }


def drawn(layout: str, split: str, index: int):
    """The scene behind a file."""
    request = Request(Path(), COUNT, VAL, 0, SIZE)
    kind = LAYOUTS[layout](request)
    return kind.scene(next(j for j in kind.jobs() if (j.split, j.index) == (split, index)))[0]


def label_maps(dataset) -> list[np.ndarray]:
    return [dataset[k]['gt_seg_map'] for k in range(len(dataset))]


def read(kind, root, **options):
    return label_maps(kind(data_root=str(root), pipeline=LOAD, **options))


SEMANTIC = {
    'ade20k': (ADE20KDataset, dict(data_prefix=dict(img_path='images/{long}', seg_map_path='annotations/{long}'))),
    'own': (MiniworldDataset, dict(data_prefix=dict(img_path='images/{long}', seg_map_path='annotations/{long}'))),
    'coco_stuff': (
        COCOStuffDataset,
        dict(data_prefix=dict(img_path='images/{s}2017', seg_map_path='annotations/{s}2017')),
    ),
    'context': (
        PascalContextDataset59,
        dict(
            ann_file='ImageSets/SegmentationContext/{s}.txt',
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        ),
    ),
    'cityscapes': (CityscapesDataset, dict(data_prefix=dict(img_path='leftImg8bit/{s}', seg_map_path='gtFine/{s}'))),
}


def filled(options, split):
    text = json.dumps(options).replace('{s}', split)
    return json.loads(text.replace('{long}', 'training' if split == 'train' else 'validation'))


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('name', SEMANTIC)
def test_label_maps_are_those_of_the_world(roots, name, split):
    kind, options = SEMANTIC[name]
    layout = 'ade20k' if name == 'own' else name
    maps = read(kind, roots[layout], **filled(options, split))
    assert len(maps) == (COUNT if split == 'train' else VAL)
    for index, found in enumerate(maps):
        labels = drawn(layout, split, index).labels.astype(int)
        if name == 'coco_stuff':
            labels = np.where(labels < NUM_THINGS, labels, labels + 80 - NUM_THINGS)
        if name == 'cityscapes':
            order = LAYOUTS['cityscapes'].labels
            labels = np.vectorize(order.index)(labels)
        np.testing.assert_array_equal(found, labels)
        assert found.max() < len(kind.METAINFO['classes'])


def test_pictures_are_those_of_the_world(roots):
    dataset = CityscapesDataset(
        data_root=str(roots['cityscapes']), pipeline=LOAD, **filled(SEMANTIC['cityscapes'][1], 'val')
    )
    np.testing.assert_array_equal(dataset[1]['img'][..., ::-1], drawn('cityscapes', 'val', 1).image)


def test_context_with_background_and_coco_objects(roots):
    options = filled(SEMANTIC['context'][1], 'val')
    labels = drawn('context', 'val', 0).labels
    np.testing.assert_array_equal(read(PascalContextDataset, roots['context'], **options)[0], labels + 1)
    objects = read(COCOObjectDataset, roots['coco_stuff'], **filled(SEMANTIC['coco_stuff'][1], 'val'))[0]
    labels = drawn('coco_stuff', 'val', 0).labels
    np.testing.assert_array_equal(objects, np.where(labels < NUM_THINGS, labels + 1, 0))


@pytest.mark.parametrize('kind', [PascalVOCDataset, PascalVOC20Dataset])
def test_voc_segmentation(roots, kind):
    prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
    found = read(kind, roots['voc'], ann_file='ImageSets/Segmentation/val.txt', data_prefix=prefix)[0]
    labels = drawn('voc', 'val', 0).labels
    background = 0 if kind is PascalVOCDataset else 255
    wanted = np.where(labels < NUM_THINGS, labels + (kind is PascalVOCDataset), background)
    inner = found != 255 if background == 0 else (found != 255) & (wanted != 255)
    np.testing.assert_array_equal(found[inner], wanted[inner])
    image = Image.open(next((roots['voc'] / 'SegmentationClass').glob('*.png')))
    assert image.mode == 'P' and image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    assert 0 < (np.asarray(image) == 255).mean() < 0.3


def test_voc_boxes(roots):
    dataset = VOCDataset(
        data_root=str(roots['voc']),
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=CLASSES[:NUM_THINGS]),
    )
    assert len(dataset) == COUNT
    for index in range(COUNT):
        items = drawn('voc', 'train', index).items
        instances = dataset.get_data_info(index)['instances']
        assert [i['bbox_label'] for i in instances] == [item.label for item in items]
        for found, item in zip(instances, items, strict=True):
            left, top, width, height = item.box
            assert found['bbox'] == [left, top, left + width - 1, top + height - 1]


def test_cityscapes_instances(roots):
    path = sorted((roots['cityscapes'] / 'gtFine' / 'val').rglob('*_instanceIds.png'))[0]
    found = np.asarray(Image.open(path)).astype(int)
    scene = drawn('cityscapes', 'val', 0)
    assert ((found >= 24000) == (scene.instances > 0)).all()
    assert len(np.unique(found[found >= 24000])) == len(scene.items)
    ids = np.asarray(Image.open(str(path).replace('instanceIds', 'labelIds')))
    np.testing.assert_array_equal(np.where(found >= 1000, found // 1000, found), ids)


def test_coco_instances(roots):
    file = roots['coco'] / 'annotations' / 'instances_train2017.json'
    api = COCO(str(file))
    dataset = CocoDataset(
        data_root=str(roots['coco']),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        metainfo=dict(classes=CLASSES[:NUM_THINGS]),
    )
    assert len(dataset) == COUNT == len(api.imgs)
    assert max(api.getCatIds()) == 21 and 12 not in api.getCatIds()  # COCO's own ids have gaps
    for index in range(COUNT):
        scene = drawn('coco', 'train', index)
        info = dataset.get_data_info(index)
        assert Path(info['img_path']).is_file()
        assert [i['bbox_label'] for i in info['instances']] == [item.label for item in scene.items]
        for number, annotation in enumerate(api.loadAnns(api.getAnnIds(imgIds=info['img_id'])), start=1):
            np.testing.assert_array_equal(api.annToMask(annotation), scene.instances == number)
            assert annotation['area'] == scene.items[number - 1].area


def test_coco_panoptic(roots):
    info = metainfo()
    dataset = CocoPanopticDataset(
        data_root=str(roots['coco']),
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        metainfo=info,
    )
    assert len(dataset) == VAL
    for index in range(VAL):
        data, scene = dataset.get_data_info(index), drawn('coco', 'val', index)
        colours = np.asarray(Image.open(data['seg_map_path'])).astype(int)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        segments = {s['id']: s for s in data['segments_info']}
        assert set(np.unique(ids)) == set(segments)
        for number, segment in segments.items():
            where = ids == number
            assert set(scene.labels[where]) == {segment['category']}
            assert segment['is_thing'] == (segment['category'] < NUM_THINGS)
    raw = json.loads((roots['coco'] / 'annotations' / 'panoptic_val2017.json').read_text())
    segment = raw['annotations'][0]['segments_info'][-1]
    assert segment['area'] == int((ids == segment['id']).sum()) or raw['annotations'][0]['image_id'] == 500001


def test_coco_captions(roots):
    dataset = CaptionedImages(
        data_root=str(roots['coco']),
        ann_file='annotations/captions_train2017.json',
        data_prefix=dict(img_path='train2017'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackCaption')],
    )
    assert len(dataset) == COUNT
    captions = dataset.get_data_info(0)['gt_caption']
    assert len(captions) == 5 and len(set(captions)) >= 3
    packed = dataset[0]
    assert packed['inputs'].shape == (3, *SIZE) and packed['data_samples'].caption in captions
    text = ' '.join(
        json.loads((roots['coco'] / 'annotations' / 'captions_train2017.json').read_text())['annotations'][0]['caption']
    )
    assert not any(f'{a} {b}' in text for a, b in held_out_pairs())


@pytest.mark.parametrize(('layout', 'kind'), [('mvtec', MVTecADDataset), ('visa', VisADataset)])
def test_inspection(roots, layout, kind):
    test = kind(roots[layout], split='test')
    train = kind(roots[layout], split='train')
    assert len(test) == 6 * len(PARTS) and len(train) == len(PARTS)
    assert {test.get_data_info(k)['category'] for k in range(len(test))} == {part.name for part in PARTS}
    labels = [test.get_data_info(k)['gt_label'] for k in range(len(test))]
    assert sum(labels) == 4 * len(PARTS)
    assert not any(train.get_data_info(k)['gt_label'] for k in range(len(train)))
    bad = next(test.get_data_info(k) for k in range(len(test)) if labels[k])
    mask = np.asarray(Image.open(bad['mask_path']))
    assert mask.shape == SIZE and 0 < (mask > 0).mean() < 0.2
    if layout == 'mvtec':
        folders = {p.name for p in (roots['mvtec'] / 'nut' / 'test').iterdir()}
        assert folders <= {'good', *DEFECTS} and len(folders) == 5


def tree(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob('*'))
        if p.is_file()
    }


@pytest.mark.parametrize('layout', ['coco', 'voc', 'visa'])
def test_a_stopped_run_goes_on_to_the_same_files(tmp_path, layout):
    options = dict(count=2, val_count=2, size=(32, 40), seed=3)
    whole = tree(write_miniworld(layout, tmp_path / 'whole', **options))
    begun = iter(Writing(layout, tmp_path / 'part', **options))
    for _ in range(3):
        next(begun)
    begun.close()
    written = tree(tmp_path / 'part')
    assert 0 < len(written) < len(whole)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / 'part').rglob('*.png')}
    resumed = Writing(layout, tmp_path / 'part', **options)
    assert not resumed.complete
    for _ in resumed:
        pass
    assert tree(tmp_path / 'part') == whole
    assert times == {p: p.stat().st_mtime_ns for p in times}  # what was there is not written again
    again = Writing(layout, tmp_path / 'part', **options)
    assert again.complete and len(again) == 0 and list(again) == []


def test_other_requests_and_strangers_are_refused(tmp_path):
    write_miniworld('ade20k', tmp_path / 'a', count=1, val_count=1, size=(32, 32))
    with pytest.raises(MiniworldError, match='seed 0 instead of 1'):
        Writing('ade20k', tmp_path / 'a', count=1, val_count=1, size=(32, 32), seed=1)
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'mine.txt').write_text('x')
    with pytest.raises(MiniworldError, match=r'holds other files and no miniworld\.json'):
        Writing('ade20k', tmp_path / 'b')
    with pytest.raises(MiniworldError, match='is a file'):
        Writing('ade20k', tmp_path / 'b' / 'mine.txt')
    (tmp_path / 'a' / 'miniworld.json').write_text('{')
    with pytest.raises(MiniworldError, match='cannot be read'):
        Writing('ade20k', tmp_path / 'a')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(layout='imagenet'), 'unknown layout'),
        (dict(count=-1), 'nothing to write'),
        (dict(count=0, val_count=0), 'nothing to write'),
        (dict(seed=-1), 'negative'),
        (dict(size=(8, 64)), 'not within 16'),
        (dict(kinds='some'), "kinds 'some'"),
        (dict(val_words='old'), "val_words 'old'"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, options, message):
    with pytest.raises(MiniworldError, match=message):
        Writing(**{'layout': 'voc', 'root': tmp_path, **options})
    assert not any(tmp_path.iterdir())


def test_seen_kinds_leave_classes_out_of_training_only(tmp_path):
    root = write_miniworld('ade20k', tmp_path, count=30, val_count=30, size=(32, 32), kinds='seen')
    unseen = [label for label, name in enumerate(CLASSES) if name in UNSEEN]

    def share(split):
        files = (root / 'annotations' / split).glob('*.png')
        return np.mean([np.isin(np.asarray(Image.open(f)) - 1, unseen).any() for f in files])

    assert share('training') == 0 < share('validation')
    card = json.loads((root / 'miniworld.json').read_text())
    assert card['classes'] == list(CLASSES) and card['complete'] and card['world'] == world.VERSION
