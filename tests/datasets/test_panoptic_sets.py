"""Panoptic data sets, from files to data samples, on generated data of each layout."""

import json

import numpy as np
import pytest
import torch
from generated import layout_of, write_dataset
from mmengine.registry import DATASETS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

import denseclip  # noqa: F401
from denseclip.datasets.panoptic import AnnotationError, PanopticSegmentsDataset
from denseclip.structures.segment_targets import segment_targets

PLACES = {
    'COCOPanopticSegments': dict(
        ann_file='annotations/panoptic_{s}2017.json',
        data_prefix=dict(img_path='{s}2017', seg_map_path='annotations/panoptic_{s}2017'),
    ),
    'ADE20KPanopticSegments': dict(
        ann_file='ade20k_panoptic_{s}.json',
        data_prefix=dict(img_path='images/{f}', seg_map_path='ade20k_panoptic_{s}'),
    ),
    'CityscapesPanopticSegments': dict(
        ann_file='gtFine/cityscapes_panoptic_{s}.json',
        data_prefix=dict(img_path='leftImg8bit/{s}', seg_map_path='gtFine/cityscapes_panoptic_{s}'),
    ),
    'MiniworldPanopticSegments': dict(
        ann_file='annotations/panoptic_{s}2017.json',
        data_prefix=dict(img_path='{s}2017', seg_map_path='annotations/panoptic_{s}2017'),
    ),
}
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticSegments')]


def build(root, kind, split='train', pipeline=(), **options):
    folder = {'train': 'training', 'val': 'validation'}[split]
    place = {k: v for k, v in PLACES[kind].items() if k not in options}
    text = json.loads(json.dumps(place).replace('{s}', split).replace('{f}', folder))
    return DATASETS.build(dict(type=kind, data_root=str(root), pipeline=list(pipeline), **text, **options))


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('panoptic')
    return {
        kind: write_dataset(layout_of(kind).name, folder / kind, num_train=2, num_val=1, size=(48, 64))
        for kind in PLACES
    }


@pytest.mark.parametrize('kind', PLACES)
def test_samples_hold_the_truth_of_the_files(kind, roots):
    dataset = build(roots[kind], kind, pipeline=[*LOAD, dict(type='PackPanopticInputs', with_instances=True)])
    meta = dataset.metainfo
    assert len(dataset) == 2
    assert set(meta['thing_classes']) | set(meta['stuff_classes']) == set(meta['classes'])
    assert len(meta['category_ids']) == len(meta['classes'])
    for index in range(len(dataset)):
        info, sample = dataset.get_data_info(index), dataset[index]['data_samples']
        colours = np.asarray(Image.open(info['seg_map_path'])).astype(int)
        raw = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        ids, listed = sample.gt_panoptic_seg.data[0].numpy(), sample.gt_panoptic_seg.segments_info
        assert len(listed) == len(info['segments_info']) > 0
        for segment, before in zip(listed, info['segments_info'], strict=True):
            assert np.array_equal(ids == segment['id'], raw == before['id'])
            assert segment['area'] == (ids == segment['id']).sum()
        assert (ids == 0).sum() == (raw == 0).sum()
        classes = sample.gt_instances.labels.tolist()
        assert classes == [s['category_id'] for s in listed if not s['iscrowd']]
        semantic = sample.gt_sem_seg.data[0]
        for label, mask in zip(classes, sample.gt_instances.masks, strict=True):
            assert (semantic[mask] == label).all()
        crowd = np.isin(ids, [s['id'] for s in listed if s['iscrowd']])
        assert (semantic.numpy() == 255).sum() == (ids == 0).sum() + crowd.sum()


def test_crowds_occur_in_generated_data(roots):
    dataset = build(roots['COCOPanopticSegments'], 'COCOPanopticSegments')
    crowds = [s['iscrowd'] for i in range(2) for s in dataset.get_data_info(i)['segments_info']]
    assert 0 < sum(crowds) < len(crowds)


def test_the_truth_moves_along_with_the_picture(roots):
    steps = [
        *LOAD,
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomResize', scale=(96, 128), ratio_range=(2.0, 2.0), keep_ratio=True, resize_type='mmseg.Resize'),
        dict(type='mmseg.RandomCrop', crop_size=(40, 50)),
        dict(type='Pad', size=(64, 64)),
        dict(type='PackPanopticInputs', with_instances=True),
    ]
    dataset = build(roots['ADE20KPanopticSegments'], 'ADE20KPanopticSegments', pipeline=steps)
    sample = dataset[0]['data_samples']
    assert sample.gt_panoptic_seg.shape == sample.gt_sem_seg.shape == (64, 64)
    masks = sample.gt_instances.masks
    assert masks.any(dim=0)[40:].sum() == 0 and masks.any(dim=0)[:40, :50].float().mean() > 0.8
    assert masks.sum(dim=0).max() == 1 and masks.flatten(1).any(dim=1).all()


def test_classes_go_by_name_and_others_are_void(roots):
    names = ('sky', 'ball', 'no such thing')
    with pytest.raises(AnnotationError, match='no such thing'):
        build(roots['MiniworldPanopticSegments'], 'MiniworldPanopticSegments', metainfo=dict(classes=names))
    pipeline = [*LOAD, dict(type='PackPanopticInputs', with_instances=True)]
    kind = 'MiniworldPanopticSegments'
    everything = build(roots[kind], kind, pipeline=pipeline)
    present = {everything.metainfo['classes'][k] for k in everything[0]['data_samples'].gt_instances.labels.tolist()}
    kept = sorted(present)[:2][::-1]
    dataset = build(roots[kind], kind, pipeline=pipeline, metainfo=dict(classes=tuple(kept)))
    assert dataset.metainfo['classes'] == tuple(kept) and len(dataset.metainfo['palette']) == 2
    sample = dataset[0]['data_samples']
    assert {kept[k] for k in sample.gt_instances.labels.tolist()} == set(kept)
    assert (sample.gt_panoptic_seg.data == 0).any()


def test_a_name_for_two_categories_is_refused(tmp_path):
    categories = [dict(id=i, name=name, isthing=1) for i, name in enumerate(('cat', 'bat', 'bat'), start=1)]
    (tmp_path / 'own.json').write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))
    with pytest.raises(AnnotationError, match='several categories are called bat'):
        PanopticSegmentsDataset(str(tmp_path / 'own.json'))


def test_pictures_without_segments_can_be_left_out_of_training(roots, tmp_path):
    kind = 'COCOPanopticSegments'
    path = roots[kind] / 'annotations' / 'panoptic_train2017.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['segments_info'] = []
    changed = tmp_path / 'changed.json'
    changed.write_text(json.dumps(content))
    pipeline = [*LOAD, dict(type='PackPanopticInputs', with_instances=True)]
    assert len(build(roots[kind], kind, ann_file=str(changed), filter_cfg=dict(filter_empty_gt=True))) == 1
    sample = build(roots[kind], kind, ann_file=str(changed), pipeline=pipeline)[0]['data_samples']
    assert len(sample.gt_instances.labels) == 0 and (sample.gt_sem_seg.data == 255).all()


def test_files_of_another_kind_are_named(tmp_path, roots):
    kind = 'COCOPanopticSegments'
    wrong = tmp_path / 'instances.json'
    wrong.write_text(json.dumps({'images': [], 'annotations': [{'bbox': []}], 'categories': []}))
    with pytest.raises(AnnotationError, match='instances.json'):
        build(roots[kind], kind, ann_file=str(wrong))
    with pytest.raises(AnnotationError, match='does not exist'):
        build(roots[kind], kind, ann_file='nowhere.json')


def test_targets_from_a_semantic_map_and_their_padding():
    sample = SegDataSample()
    sample.set_data(dict(gt_sem_seg=_plane([[3, 3, 255], [0, 3, 255]])))
    labels, masks = segment_targets(sample, (4, 5))
    assert labels.tolist() == [0, 3] and masks.shape == (2, 4, 5)
    assert masks[1].nonzero().tolist() == [[0, 0], [0, 1], [1, 1]]
    sample.set_data(dict(gt_sem_seg=_plane([[255]])))
    labels, masks = segment_targets(sample, (2, 2))
    assert labels.shape == (0,) and masks.shape == (0, 2, 2)


def _plane(values):
    from mmengine.structures import PixelData

    return PixelData(data=torch.tensor([values]))


def test_beyond_255_classes_void_is_no_class():
    segments = [dict(id=7, category_id=255, iscrowd=0, area=1)]
    results = dict(
        img=np.zeros((1, 2, 3), np.uint8), gt_seg_map=np.array([[256, 255]], np.int32), segments_info=segments
    )
    pack = TRANSFORMS.build(dict(type='PackPanopticInputs', meta_keys=()))
    sample = pack({**results, 'ignored_label': 65535})['data_samples']
    assert sample.gt_sem_seg.data.tolist() == [[[255, 65535]]]
    names = tuple(f'class {k}' for k in range(256))

    class Many(PanopticSegmentsDataset):
        METAINFO = dict(classes=names, thing_classes=names, category_ids=tuple(range(256)))

    many = Many(lazy_init=True)
    annotation = dict(image_id=1, file_name='a.png', segments_info=[dict(id=7, category_id=255)])
    assert many.sample(annotation, {}, {255: 255})['ignored_label'] == 65535
