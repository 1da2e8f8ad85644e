"""Generated data sets: deterministic, readable by the real classes, covering all classes."""

from pathlib import Path

import numpy as np
import pytest
from generated import IGNORED, LAYOUTS, draw_scene, layout_of, register_layout, write_dataset
from mmseg.registry import DATASETS
from PIL import Image

PREFIXES = {
    'ade20k': dict(img_path='images/training', seg_map_path='annotations/training'),
    'camvid': dict(img_path='train', seg_map_path='trainannot'),
}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()}


@pytest.mark.parametrize('layout', sorted(LAYOUTS))
def test_same_arguments_same_bytes(tmp_path: Path, layout: str) -> None:
    roots = [write_dataset(layout, tmp_path / str(i), num_train=2, num_val=1, size=(24, 32)) for i in range(2)]
    other = write_dataset(layout, tmp_path / 'other', num_train=2, num_val=1, size=(24, 32), seed=1)
    assert contents(roots[0]) == contents(roots[1])
    assert contents(roots[0]) != contents(other)


@pytest.mark.parametrize('layout', sorted(PREFIXES))
def test_real_class_reads_it_with_ids_in_range(tmp_path: Path, layout: str) -> None:
    root = write_dataset(layout, tmp_path / 'd', num_train=3, num_val=1, size=(24, 32))
    dataset = DATASETS.build(
        dict(
            type=LAYOUTS[layout].dataset_types[0],
            data_root=str(root),
            data_prefix=PREFIXES[layout],
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='mmseg.LoadAnnotations'),
                dict(type='CheckLabelRange', num_classes=LAYOUTS[layout].num_classes),
            ],
        )
    )
    assert len(dataset) == 3
    assert len(dataset.metainfo['classes']) == LAYOUTS[layout].num_classes
    for sample in dataset:
        assert sample['img'].shape[:2] == sample['gt_seg_map'].shape
        assert 255 in sample['gt_seg_map'] and (sample['gt_seg_map'] != 255).mean() > 0.9


def test_splits_do_not_share_pictures(tmp_path: Path) -> None:
    root = write_dataset('camvid', tmp_path / 'd', num_train=2, num_val=2, size=(24, 32))
    pictures = [p.read_bytes() for split in ('train', 'val', 'test') for p in (root / split).iterdir()]
    assert len(set(pictures)) == len(pictures) == 6


def test_ade20k_pictures_differ_in_size(tmp_path: Path) -> None:
    root = write_dataset('ade20k', tmp_path / 'd', num_train=2, num_val=1, size=(24, 32))
    assert len({Image.open(p).size for p in (root / 'images' / 'training').iterdir()}) == 2


def test_num_classes_limits_the_ids(tmp_path: Path) -> None:
    root = write_dataset('camvid', tmp_path / 'd', num_train=4, num_val=1, size=(24, 32), num_classes=3)
    ids = {int(i) for p in (root / 'trainannot').iterdir() for i in np.unique(np.asarray(Image.open(p)))}
    assert ids <= {0, 1, 2, 11}


def test_scene_holds_its_classes_and_ignored_pixels() -> None:
    scene = draw_scene(np.random.default_rng(0), size=(100, 80), classes=[4, 9])
    assert set(np.unique(scene.labels)) == {4, 9, IGNORED}
    assert scene.image.shape == (100, 80, 3) and scene.image.dtype == np.uint8
    assert (scene.labels == IGNORED).mean() == pytest.approx(0.02)


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match='camvid'):
        write_dataset('camvidd', tmp_path / 'a')
    with pytest.raises(ValueError, match=r'1\.\.11'):
        write_dataset('camvid', tmp_path / 'a', num_classes=12)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'x').touch()
    with pytest.raises(FileExistsError):
        write_dataset('camvid', tmp_path / 'full')
    with pytest.raises(KeyError, match='register_layout'):
        layout_of('NoSuchDataset')
    with pytest.raises(ValueError, match='already registered'):
        register_layout('camvid', dataset_types=(), num_classes=1, size=(1, 1))(lambda request: None)
