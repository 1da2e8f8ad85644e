"""Panoptic files of ADE20K and Cityscapes from the sets' own files."""

import json

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

import denseclip  # noqa: F401
from denseclip.clip.things import things_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.converters import ConversionError, convert_ade20k_panoptic, convert_cityscapes_panoptic
from denseclip.evaluation.panoptic_files import read_panoptic_json, read_panoptic_png

ADE = Vocabulary.named('ade20k').names


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8 if np.max(array) < 256 else np.uint16)).save(path)


def ade_root(root):
    """One picture: wall, a bed that is no instance, two persons."""
    labels, instances = np.full((6, 8), 1), np.zeros((6, 8, 3))
    labels[0, 0] = 0
    labels[3:, :3] = ADE.index('bed') + 1
    person = things_of('ade20k').index('person') + 1
    for number, columns in ((1, slice(3, 5)), (2, slice(6, 8))):
        labels[1:3, columns] = ADE.index('person') + 1
        instances[1:3, columns] = (person, number, 0)
    save(np.zeros((6, 8, 3)), root / 'images/validation/ADE_val_00000007.jpg')
    save(labels, root / 'annotations/validation/ADE_val_00000007.png')
    save(instances, root / 'annotations_instance/validation/ADE_val_00000007.png')


def test_ade20k(tmp_path):
    ade_root(tmp_path)
    assert convert_ade20k_panoptic(tmp_path) == {'val': 1}
    ids = read_panoptic_png(tmp_path / 'ade20k_panoptic_val/ADE_val_00000007.png')
    content = read_panoptic_json(tmp_path / 'ade20k_panoptic_val.json')
    (annotation,) = content['annotations']
    found = sorted((ADE[s['category_id']], s['area'], tuple(s['bbox'])) for s in annotation['segments_info'])
    assert found == [('person', 4, (3, 1, 2, 2)), ('person', 4, (6, 1, 2, 2)), ('wall', 48 - 1 - 9 - 8, (0, 0, 8, 6))]
    assert (ids[3:, :3] == 0).all() and ids[0, 0] == 0  # a thing without an instance, and no class
    assert annotation['image_id'] == 7 and len(content['categories']) == 150
    assert sum(c['isthing'] for c in content['categories']) == 100
    dataset = DATASETS.build(
        dict(
            type='ADE20KPanopticSegments',
            data_root=str(tmp_path),
            ann_file='ade20k_panoptic_val.json',
            data_prefix=dict(img_path='images/validation', seg_map_path='ade20k_panoptic_val'),
            pipeline=[dict(type='LoadPanopticSegments'), dict(type='PackPanopticInputs')],
        )
    )
    assert dataset[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, ADE.index('person'), 255]


def test_ade20k_problems_leave_nothing_behind(tmp_path):
    ade_root(tmp_path)
    save(np.full((6, 8), 151), tmp_path / 'annotations/validation/ADE_val_00000007.png')
    with pytest.raises(ConversionError, match='does not have'):
        convert_ade20k_panoptic(tmp_path)
    (tmp_path / 'annotations_instance/validation/ADE_val_00000007.png').unlink()
    with pytest.raises(ConversionError, match='is missing'):
        convert_ade20k_panoptic(tmp_path)
    assert not list(tmp_path.glob('*ade20k_panoptic*'))


def test_cityscapes(tmp_path):
    raw = np.full((4, 8), 7)  # road
    raw[0] = 26  # a group of cars
    raw[1, :2], raw[1, 2:4], raw[3, 7] = 26000, 26001, 3  # two cars, and a pixel that is not scored
    save(np.zeros((4, 8, 3)), tmp_path / 'leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png')
    save(raw, tmp_path / 'gtFine/val/ulm/ulm_000001_000019_gtFine_instanceIds.png')
    assert convert_cityscapes_panoptic(tmp_path) == {'val': 1}
    content = json.loads((tmp_path / 'gtFine/cityscapes_panoptic_val.json').read_text())
    (annotation,) = content['annotations']
    assert annotation['file_name'] == 'ulm_000001_000019_gtFine_panoptic.png'
    found = [(s['id'], s['category_id'], s['iscrowd'], s['area']) for s in annotation['segments_info']]
    assert found == [(7, 7, 0, 19), (26, 26, 1, 8), (26000, 26, 0, 2), (26001, 26, 0, 2)]
    ids = read_panoptic_png(tmp_path / 'gtFine/cityscapes_panoptic_val' / annotation['file_name'])
    assert np.array_equal(ids, np.where(raw == 3, 0, raw))
    with pytest.raises(ConversionError, match='--force'):
        convert_cityscapes_panoptic(tmp_path)
    assert convert_cityscapes_panoptic(tmp_path, force=True) == {'val': 1}
