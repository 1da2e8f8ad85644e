"""Anomaly data sets: every layout is read, in a fixed order, through the pipeline; wrong folders are named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import write_dataset
from mmengine.registry import DATASETS
from PIL import Image

from denseclip.datasets.anomaly_layouts import list_folder
from denseclip.datasets.anomaly_masks import read_mask
from denseclip.datasets.converters import convert_visa
from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.transforms import LoadAnomalyMask, ResizePicture

PIPELINE = [dict(type='LoadPicture'), dict(type='LoadAnomalyMask'), dict(type='PackAnomalyInputs')]
KINDS = {
    'mvtec_ad': 'MVTecADDataset',
    'visa': 'VisADataset',
    'magnetic_tile': 'MagneticTileDataset',
    'anomaly_folder': 'AnomalyFolderDataset',
}


@pytest.fixture(scope='module', params=sorted(KINDS))
def layout(request, tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / request.param
    return request.param, write_dataset(request.param, root, num_train=2, num_val=2, size=(24, 32))


def build(kind, root, **kwargs):
    return DATASETS.build(dict(type=kind, data_root=str(root), pipeline=PIPELINE, **kwargs))


def test_every_layout_gives_pictures_masks_and_labels(layout):
    name, root = layout
    dataset = build(KINDS[name], root)
    categories = {info['category'] for info in map(dataset.get_data_info, range(len(dataset)))}
    assert len(dataset) == 4 * len(categories)
    for packed in dataset:
        sample = packed['data_samples']
        assert packed['inputs'].shape == (3, 24, 32) and packed['inputs'].dtype == torch.uint8
        assert sample.gt_mask.data.shape == (1, 24, 32) and sample.ori_shape == (24, 32)
        assert bool(sample.gt_mask.data.any()) is bool(sample.gt_label)
        assert set(sample.gt_mask.data.unique().tolist()) <= {0, 1}
        assert 'defect_type' in sample.metainfo_keys() and Path(sample.img_path).is_file()
    assert sum(packed['data_samples'].gt_label for packed in dataset) == 2 * len(categories)


def test_train_split_holds_normal_pictures(layout):
    name, root = layout
    if name in ('mvtec_ad', 'visa'):
        train = build(KINDS[name], root, split='train')
        assert len(train) == 4 and not any(packed['data_samples'].gt_label for packed in train)
    else:
        with pytest.raises(FileNotFoundError, match="no picture in the split 'train'"):
            build(KINDS[name], root, split='train')


def test_words_for_categories(tmp_path):
    root = write_dataset('mvtec_ad', tmp_path / 'm', num_train=1, num_val=1, size=(16, 16))

    def words(**kwargs):
        dataset = build('MVTecADDataset', root, **kwargs)
        return [dataset.get_data_info(i)['object_name'] for i in range(len(dataset))]

    assert words() == ['grid'] * 2 + ['metal_nut'] * 2  # the folder's name, as the authors' scripts do
    assert words(categories=['metal_nut'], plain_words=True) == ['metal nut'] * 2
    assert words(categories=['metal_nut'], object_names={'metal_nut': 'steel nut'}) == ['steel nut'] * 2
    visa = build('VisADataset', write_dataset('visa', tmp_path / 'v', num_train=1, num_val=1, size=(16, 16)))
    assert {visa.get_data_info(i)['object_name'] for i in range(len(visa))} == {'macaroni', 'pcb1'}


def test_both_layouts_of_visa_are_the_same_data(tmp_path):
    published = write_dataset('visa', tmp_path / 'published', num_train=1, num_val=2, size=(24, 32))
    convert_visa(published, tmp_path / 'rewritten')
    first, second = build('VisADataset', published), build('VisADataset', tmp_path / 'rewritten')
    assert len(first) == len(second) == 8

    def content(dataset):
        samples = [packed['data_samples'] for packed in dataset]
        return sorted((s.category, s.gt_label, s.gt_mask.data.numpy().tobytes()) for s in samples)

    assert content(first) == content(second)


def test_wrong_folders_are_named(tmp_path):
    for kind, message in (
        ('MVTecADDataset', 'CATEGORY/test/good'),
        ('VisADataset', 'split_csv'),
        ('MagneticTileDataset', 'MT_Free'),
        ('AnomalyFolderDataset', 'normal/'),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            build(kind, tmp_path)
        with pytest.raises(FileNotFoundError, match='nowhere'):
            build(kind, tmp_path / 'nowhere')
    with pytest.raises(ValueError, match="'val' is unknown"):
        build('MVTecADDataset', tmp_path, split='val')
    root = write_dataset('visa', tmp_path / 'v', num_train=1, num_val=1, size=(16, 16))
    with pytest.raises(ValueError, match='no category pcb9'):
        build('VisADataset', root, categories=['pcb9'])
    table = root / 'split_csv' / '1cls.csv'
    table.write_text(table.read_text().replace('anomaly', 'bad', 1))
    with pytest.raises(ValueError, match=r"1cls\.csv', line \d+: label 'bad'"):
        build('VisADataset', root)


def save(path, size=(20, 16), value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('L', size, value).save(path)


def test_a_plain_folder_finds_its_masks_by_name(tmp_path):
    for name in ('OK/a.png', 'dent/b.jpg', 'dent/c.png', 'crack/d.png', '.cache/e.png'):
        save(tmp_path / name)
    for name in ('masks/dent/b.png', 'masks/d_mask.png'):
        save(tmp_path / name)
    entries = {e.image.name: e for e in list_folder(tmp_path, 'nut')}
    assert sorted(entries) == ['a.png', 'b.jpg', 'c.png', 'd.png']
    assert [entries[n].anomalous for n in sorted(entries)] == [False, True, True, True]
    masks = {name: entry.mask and entry.mask.relative_to(tmp_path).as_posix() for name, entry in entries.items()}
    assert masks == {'a.png': None, 'b.jpg': 'masks/dent/b.png', 'c.png': None, 'd.png': 'masks/d_mask.png'}


def test_a_defective_picture_without_a_mask_has_none(tmp_path):
    save(tmp_path / 'normal' / 'a.png')
    save(tmp_path / 'dent' / 'b.png')
    dataset = build('AnomalyFolderDataset', tmp_path, object_name='nut')
    dent, normal = (packed['data_samples'] for packed in dataset)
    assert 'gt_mask' not in dent and dent.gt_label == 1 and dent.object_name == 'nut'
    assert not normal.gt_mask.data.any() and normal.gt_mask.data.shape == (1, 16, 20)


def test_a_category_of_mvtec_is_a_plain_folder(tmp_path):
    root = write_dataset('mvtec_ad', tmp_path / 'm', num_train=2, num_val=2, size=(16, 16))
    dataset = build('AnomalyFolderDataset', root / 'metal_nut', object_name='metal nut')
    assert len(dataset) == 4 and all('gt_mask' in packed['data_samples'] for packed in dataset)


def test_masks_that_are_missing_damaged_or_of_another_size(tmp_path):
    root = write_dataset('mvtec_ad', tmp_path / 'm', num_train=1, num_val=1, size=(16, 16))
    mask = root / 'metal_nut' / 'ground_truth' / 'scratch' / '000_mask.png'

    def load():
        return list(build('MVTecADDataset', root, categories=['metal_nut']))

    save(mask, (10, 16))
    with pytest.raises(ValueError, match=r'000_mask\.png: size \(16, 10\) differs from its picture \(16, 16\)'):
        load()
    mask.write_bytes(b'no picture')
    with pytest.raises(UnreadableFileError, match=r'000_mask\.png: cannot be read'):
        load()
    mask.unlink()
    with pytest.raises(UnreadableFileError, match=r'000_mask\.png: no such file'):
        load()


@pytest.mark.parametrize(
    ('mode', 'value'), [('L', 3), ('1', 1), ('P', 2), ('RGB', (0, 0, 9)), ('RGBA', (9, 0, 0, 255)), ('I;16', 300)]
)
def test_masks_of_every_kind(tmp_path, mode, value):
    picture = Image.new(mode, (4, 3), (0, 0, 0, 255) if mode == 'RGBA' else 0)
    picture.putpixel((2, 1), value)
    picture.save(tmp_path / 'm.png')
    expected = np.zeros((3, 4))
    expected[1, 2] = 1
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.png'), expected)


def test_threshold_of_soft_masks(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / 'm.png')
    found = LoadAnomalyMask(threshold=127)(dict(mask_path=str(tmp_path / 'm.png'), ori_shape=(1, 4), gt_label=1))
    assert found['gt_mask'].tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ('size', 'shape', 'expected'),
    [((24, 24), (40, 30), (24, 24)), (24, (40, 31), (30, 24)), (24, (24, 96), (24, 96)), (8, (100, 25), (32, 8))],
)
def test_resizing_is_pillows(size, shape, expected):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*shape, 3), dtype=np.uint8), (rng.random(shape) < 0.3).astype(np.uint8)
    found = ResizePicture(size, mask=True)(dict(img=image, gt_mask=mask, ori_shape=shape))
    target = expected[::-1]
    np.testing.assert_array_equal(found['img'], np.asarray(Image.fromarray(image).resize(target, 2)))
    soft = np.asarray(Image.fromarray(mask * 255).resize(target, 2)) / 255
    np.testing.assert_array_equal(found['gt_mask'], soft > 0.5)
    assert found['img_shape'] == expected and found['ori_shape'] == shape
    assert ResizePicture(size)(dict(img=image, gt_mask=mask))['gt_mask'].shape == shape


def test_sixteen_bits_grey_and_turned_pictures(tmp_path):
    grey = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2570
    (tmp_path / 'normal').mkdir()
    Image.fromarray(grey).save(tmp_path / 'normal' / 'deep.png')
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new('RGB', (6, 4)).save(tmp_path / 'normal' / 'turned.jpg', exif=exif)
    deep, turned = build('AnomalyFolderDataset', tmp_path)
    np.testing.assert_array_equal(deep['inputs'][0].numpy(), grey / 257)
    assert turned['inputs'].shape == (3, 6, 4) and turned['data_samples'].ori_shape == (6, 4)
    shutil.rmtree(tmp_path / 'normal')
