"""Masks find their pictures by name; those that belong to none are listed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from generated import write_dataset
from PIL import Image

from denseclip.datasets import AnomalyFolderDataset, MagneticTileDataset, MVTecADDataset
from denseclip.datasets.anomaly_audit import audit_anomalies
from denseclip.datasets.anomaly_layouts import list_folder
from denseclip.datasets.anomaly_masks import read_mask, threshold_of
from denseclip.datasets.anomaly_pairs import BEGINNINGS, ENDINGS, MaskFinder, split_pairs, strays

MASK = np.zeros((24, 32), np.uint8)
MASK[4:9, 5:11] = 255


def save(path: Path, pixels: Any = MASK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=75)
    return path


def photo(path: Path, seed: int = 0, channels: int = 3) -> Path:
    pixels = np.random.default_rng(seed).integers(30, 200, (24, 32, channels), dtype=np.uint8)
    return save(path, pixels.squeeze())


NAMES = ['{}' + ending for ending in (*ENDINGS, '', '_GT', '_Mask', '-LABEL')] + [b + '{}' for b in BEGINNINGS]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('place', ['masks/dent', 'masks', 'ground_truth/dent', 'GT/dent'])
def test_names_of_masks(tmp_path: Path, name: str, place: str) -> None:
    photo(tmp_path / 'good/a.bmp')
    for stem in ('000', '0001', '000_1'):  # none is taken for another's
        photo(tmp_path / f'dent/{stem}.bmp')
        save(tmp_path / place / f'{name.format(stem)}.png')
    found = {entry.image.stem: entry.mask for entry in list_folder(tmp_path, 'nut') if entry.anomalous}
    assert found == {stem: tmp_path / place / f'{name.format(stem)}.png' for stem in ('000', '0001', '000_1')}
    report = audit_anomalies(AnomalyFolderDataset(tmp_path))
    assert not [p for p in report.problems if p.kind == 'unpaired'], report.render()


def test_the_likeliest_name_is_taken(tmp_path: Path) -> None:
    image = photo(tmp_path / 'a.png')
    for name in ('a_gt.png', 'a.png', 'a_mask.jpg', 'a_mask.png', 'A_MASK.png'):
        save(tmp_path / 'masks' / name)
    order = ['a_mask.png', 'a_mask.jpg', 'A_MASK.png', 'a.png', 'a_gt.png']
    for name in order:
        assert MaskFinder().find(image, tmp_path / 'masks') == tmp_path / 'masks' / name
        (tmp_path / 'masks' / name).unlink()
    assert MaskFinder().find(image, tmp_path / 'masks') is None
    assert MaskFinder().find(image, tmp_path / 'nowhere') is None


def test_pairs_of_one_folder(tmp_path: Path) -> None:
    pictures = [photo(tmp_path / name, 1, 1) for name in ('a.jpg', 'b.png', 'c.bmp', 'd.jpg', 'e.jpg')]
    masks = {pictures[0]: save(tmp_path / 'a.png'), pictures[1]: save(tmp_path / 'b_GT.png')}
    twin = photo(tmp_path / 'd.png', 2, 1)  # the same photograph in another format
    label = photo(tmp_path / 'e_label.jpg', 3)  # a photograph of a label
    alone = save(tmp_path / 'f_mask.png')  # of no picture: a picture itself, as far as names tell
    (tmp_path / 'g.jpg').write_bytes(b'')
    damaged = tmp_path / 'g_mask.png'
    damaged.write_bytes(b'')
    found, paired = split_pairs(sorted(tmp_path.iterdir()))
    assert paired == masks
    assert set(found) == {*pictures, twin, label, alone, tmp_path / 'g.jpg', damaged}


def test_photographs_on_white_are_no_masks(tmp_path: Path) -> None:
    large = np.full((240, 320, 3), 255, np.uint8)
    large[80:120, 100:180] = np.random.default_rng(0).integers(60, 160, (40, 80, 3))  # 96 % of it is white
    grey = np.repeat(large[..., :1], 3, axis=2)
    soft = cv2.GaussianBlur(np.kron(MASK, np.ones((10, 10), np.uint8)), (0, 0), 1.5)
    red = np.stack([np.kron(MASK, np.ones((10, 10), np.uint8)), soft * 0, soft * 0], axis=2)
    kinds = {'colour': large, 'grey': grey, 'single': grey[..., 0]}
    masks = {
        'soft': soft,
        'three': np.repeat(soft[..., None], 3, axis=2),
        'red': red,
        'deep': MASK.astype(np.uint16) * 257,
    }
    for name, pixels in (kinds | masks).items():
        photo(tmp_path / f'{name}.bmp')
        for ending in ('_gt.png', '_label.png', '_defect.png', *(['_seg.jpg'] if name in ('soft', 'three') else [])):
            save(tmp_path / f'{name}{ending}', pixels)
    found, paired = split_pairs(sorted(tmp_path.iterdir()))
    assert {image.stem for image in paired} == masks.keys()
    assert {path.stem for path in found} >= {f'{kind}{end}' for kind in kinds for end in ('_gt', '_label', '_defect')}
    assert {path.stem for path in found} >= {f'{kind}_defect' for kind in masks}


def test_strays_are_listed_with_the_nearest_name(tmp_path: Path) -> None:
    pictures = [photo(tmp_path / f'test/{name}.png') for name in ('good/000', 'dent/000', 'dent/001', 'crack/017')]
    used = [save(tmp_path / 'gt/dent/000_mask.png')]
    save(tmp_path / 'gt/good/000_mask.png', MASK * 0)  # of a normal picture
    save(tmp_path / 'gt/crack/0017_mask.png')
    save(tmp_path / 'gt/crack/001_mask.png')  # a picture of that name has another defect
    save(tmp_path / 'gt/001_gt.png')  # directly in the folder: of any picture
    lines = strays([(tmp_path / 'gt', tmp_path / 'test')], pictures, used)
    assert lines == [
        f'{tmp_path}/gt/crack/0017_mask.png: belongs to no picture; the nearest name is {pictures[3]}',
        f'{tmp_path}/gt/crack/001_mask.png: belongs to no picture; the nearest name is {pictures[2]}',
    ]
    assert strays([(tmp_path / 'gt', tmp_path / 'test')], [], []) == [
        f'{path}: belongs to no picture' for path in sorted((tmp_path / 'gt').rglob('*.png'))
    ]


@pytest.mark.parametrize('layout', ['mvtec_ad', 'magnetic_tile', 'anomaly_folder'])
def test_the_audit_lists_strays_of_every_layout(tmp_path: Path, layout: str) -> None:
    root = write_dataset(layout, tmp_path / 'data', num_train=2, num_val=2, size=(24, 32))
    kind = {'mvtec_ad': MVTecADDataset, 'magnetic_tile': MagneticTileDataset, 'anomaly_folder': AnomalyFolderDataset}
    assert audit_anomalies(kind[layout](root)).ok
    place = {'mvtec_ad': 'grid/ground_truth/dent', 'magnetic_tile': 'MT_Free/Imgs', 'anomaly_folder': 'masks'}[layout]
    save(root / place / 'exp9_mask.png')
    report = audit_anomalies(kind[layout](root))
    [problem] = report.problems
    assert 'exp9_mask.png: belongs to no picture; the nearest name is ' in problem.message
    if layout == 'mvtec_ad':  # pictures of the other split have no masks there
        assert audit_anomalies(MVTecADDataset(root, split='train')).ok
        assert audit_anomalies(MVTecADDataset(root, categories=['metal_nut'])).ok


def test_names_of_btad(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / f'01/test/ok/{number}.bmp', number)
        photo(tmp_path / f'01/test/ko/{number}.bmp', 9 + number)
        save(tmp_path / f'01/ground_truth/ko/{number}.png')
    for dataset in (AnomalyFolderDataset(tmp_path / '01'), MVTecADDataset(tmp_path)):
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert [(info['gt_label'], bool(info['mask_path'])) for info in infos] == [(1, True)] * 3 + [(0, False)] * 3
        assert audit_anomalies(dataset).ok


def test_magnetic_tile_as_it_comes_is_a_plain_folder(tmp_path: Path) -> None:
    root = write_dataset('magnetic_tile', tmp_path / 'data', num_train=1, num_val=4, size=(24, 32))
    photo(root / 'dataset.jpg')
    (root / 'README.md').write_text('about it')
    entries = list_folder(root, 'tile')
    assert len(entries) == 8 and sum(entry.anomalous for entry in entries) == 4
    assert all(entry.image.suffix == '.jpg' and entry.threshold == 127 for entry in entries)
    dataset = AnomalyFolderDataset(root, pipeline=[dict(type='LoadPicture'), dict(type='LoadAnomalyMask')])
    for result in dataset:
        values = np.asarray(Image.open(Path(result['img_path']).with_suffix('.png')))
        np.testing.assert_array_equal(result['gt_mask'], values > 127)
    shutil.rmtree(root / 'MT_Free')
    assert audit_anomalies(AnomalyFolderDataset(root)).suggestions() == ['object: no normal picture, so no image AUROC']


def test_thresholds_by_the_values_of_a_mask(tmp_path: Path) -> None:
    large = np.roll(np.kron(MASK, np.ones((8, 8), np.uint8)), (3, 3), (0, 1))
    noisy = np.asarray(Image.open(save(tmp_path / 'm.jpg', large)))
    assert len(np.unique(noisy)) > 16 and threshold_of(noisy) == 127
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.jpg', None), large // 255)
    ids = MASK // 255 * np.arange(1, 33, dtype=np.uint8)  # numbers of defects
    for values in (MASK, MASK // 255, ids, MASK.astype(np.uint16) * 257, MASK * 0, MASK[:0]):
        assert threshold_of(values) == 0


def test_pictures_of_a_defect_lie_at_any_depth_with_masks_of_their_own(tmp_path: Path) -> None:
    for name in ('normal/a.jpg', 'scratch/lot1/x.jfif', 'scratch/lot2/x.jpg', 'scratch/lot2/only.jpg'):
        photo(tmp_path / name)
    for name in ('masks/scratch/lot1/x.png', 'masks/scratch/x_mask.png', 'scratch/lot2/masks/only.png'):
        save(tmp_path / name)
    found = {entry.image.relative_to(tmp_path).as_posix(): entry for entry in list_folder(tmp_path, 'own')}
    masks = {name: entry.mask and entry.mask.relative_to(tmp_path).as_posix() for name, entry in found.items()}
    assert masks == {
        'normal/a.jpg': None,
        'scratch/lot1/x.jfif': 'masks/scratch/lot1/x.png',
        'scratch/lot2/x.jpg': None,  # x_mask.png may be of either
        'scratch/lot2/only.jpg': 'scratch/lot2/masks/only.png',
    }
    assert {entry.defect for entry in found.values()} == {'good', 'scratch'}
