"""Pictures without labels, and the transforms around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS

from denseclip.datasets.picture_folder import PictureFolderDataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_dataset('imagenet', tmp_path / 'imagenet', num_train=5, num_val=1, size=(24, 32))
    (root / 'train' / 'notes.txt').write_text('no picture')
    return root


def test_all_pictures_below_a_folder_in_order(root: Path):
    dataset = PictureFolderDataset(data_root=str(root), data_prefix=dict(img_path='train'))
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert len(paths) == 5 and paths == sorted(paths) and all(p.endswith('.JPEG') for p in paths)
    assert len(PictureFolderDataset(data_root=str(root))) == 6


def test_a_sample_is_drawn_by_its_seed_and_with_replacement(root: Path):
    def paths(seed: int) -> list[str]:
        dataset = PictureFolderDataset(data_root=str(root), sample=20, sample_seed=seed)
        return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]

    first = paths(0)
    assert len(first) == 20 and len(set(first)) <= 6
    assert first != paths(1)


def test_it_feeds_a_training_without_labels(root: Path):
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(1000, 20), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(16, 16)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomBrightness', strength=0.5),
        dict(type='PackSegInputs'),
    ]
    init_default_scope('mmseg')
    dataset = DATASETS.build(dict(type='PictureFolderDataset', data_root=str(root), pipeline=steps))
    packed = dataset[0]
    assert packed['inputs'].shape == (3, 16, 16) and 'gt_sem_seg' not in packed['data_samples']
    assert 'classes' not in dataset.metainfo


def test_an_empty_folder_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='holds no picture'):
        PictureFolderDataset(data_root=str(tmp_path))


def test_brightness_is_a_factor():
    image = np.full((4, 4, 3), 100, dtype=np.uint8)
    image[0] = 240
    transform = TRANSFORMS.build(dict(type='RandomBrightness', strength=0.5))
    np.random.seed(0)  # noqa: NPY002
    seen = [transform(dict(img=image.copy()))['img'] for _ in range(40)]
    values = [int(s[1, 0, 0]) for s in seen]
    assert min(values) >= 50 and max(values) <= 150 and len(set(values)) > 10
    assert all(s.dtype == np.uint8 and abs(int(s[0, 0, 0]) - min(255, 2.4 * s[1, 0, 0])) <= 3 for s in seen)
    assert np.array_equal(TRANSFORMS.build(dict(type='RandomBrightness', strength=0.0))(dict(img=image))['img'], image)
    with pytest.raises(ValueError, match='negative'):
        TRANSFORMS.build(dict(type='RandomBrightness', strength=-1))


@pytest.mark.parametrize(('labels', 'expected'), [(None, [-1, -1, -1]), ((3,), [0, -1, 255]), ((3, 255), [0, -1, -1])])
def test_suppressed_labels_become_minus_one(labels, expected):
    transform = TRANSFORMS.build(dict(type='SuppressLabels', labels=labels))
    out = transform(dict(gt_seg_map=np.array([[0, 3, 255]], dtype=np.uint8)))['gt_seg_map']
    assert out.dtype == np.int16 and out.tolist() == [expected]


def test_suppressed_labels_of_many_classes_keep_their_ignored_label():
    transform = TRANSFORMS.build(dict(type='SuppressLabels', labels=[3]))
    out = transform(dict(gt_seg_map=np.array([[255, 3, 65535]], dtype=np.int32)))['gt_seg_map']
    assert out.tolist() == [[255, -1, 65535]]
