"""The look through an anomaly data set, and converters: sound data passes, each fault is found and named."""

import json
import shutil

import pytest
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from denseclip.datasets.anomaly_audit import audit_anomalies
from denseclip.datasets.audit import audit_split
from denseclip.datasets.converters import (
    ConversionError,
    anomaly_meta,
    convert_magnetic_tile,
    convert_visa,
    write_anomaly_meta,
)

KINDS = {'mvtec_ad': 'MVTecADDataset', 'visa': 'VisADataset', 'magnetic_tile': 'MagneticTileDataset'}


def make(layout, root):
    return write_dataset(layout, root, num_train=2, num_val=2, size=(24, 32))


def dataset(layout, root):
    return DATASETS.build(dict(type=KINDS[layout], data_root=str(root), serialize_data=False))


@pytest.fixture
def mvtec(tmp_path):
    return make('mvtec_ad', tmp_path / 'mvtec')


@pytest.mark.parametrize('layout', sorted(KINDS))
def test_sound_data_passes(tmp_path, layout):
    report = audit_anomalies(dataset(layout, make(layout, tmp_path / 'd')))
    assert report.ok and not report.suggestions(), report.render()
    first = next(iter(report.categories.values()))
    assert (first.normal, first.anomalous, first.masks) == (2, 2, 2) and first.sizes == {(24, 32): 4}
    assert 0 < first.defective / first.masks < 0.3
    assert report.render().endswith('OK') and '24 x 32 (4)' in report.render()


def damage_picture(root):
    (root / 'grid/test/good/000.png').write_bytes(b'')


def lose_mask(root):
    (root / 'grid/ground_truth/dent/000_mask.png').unlink()


def damage_mask(root):
    (root / 'grid/ground_truth/dent/000_mask.png').write_bytes(b'?')


def shrink_mask(root):
    Image.new('L', (24, 32), 255).save(root / 'grid/ground_truth/dent/000_mask.png')


def empty_mask(root):
    Image.new('L', (32, 24), 0).save(root / 'grid/ground_truth/dent/000_mask.png')


def leak(root):
    shutil.copy(root / 'grid/train/good/001.png', root / 'grid/test/good/009.png')


def add_mask(root):
    Image.new('L', (32, 24), 255).save(root / 'grid/ground_truth/dent/777_mask.png')


@pytest.mark.parametrize(
    ('fault', 'kind', 'words'),
    [
        (damage_picture, 'unreadable', 'grid/test/good/000.png'),
        (lose_mask, 'unpaired', 'has no mask'),
        (damage_mask, 'unreadable', '000_mask.png'),
        (shrink_mask, 'size', 'differs from its picture (24, 32)'),
        (empty_mask, 'empty', 'marks nothing'),
        (leak, 'repeated', 'grid/train/good/001.png'),
        (add_mask, 'unpaired', '777_mask.png: belongs to no picture'),
    ],
)
def test_faults_are_found(mvtec, fault, kind, words):
    fault(mvtec)
    report = audit_anomalies(dataset('mvtec_ad', mvtec))
    assert not report.ok
    assert kind in {p.kind for p in report.problems} and any(words in p.message for p in report.problems)
    assert f'PROBLEM {kind}' in report.render() and 'would fail or mislead' in report.render()


def test_what_cannot_be_measured_is_said(mvtec):
    shutil.rmtree(mvtec / 'grid/test/good')
    shutil.rmtree(mvtec / 'metal_nut/test/dent')
    shutil.rmtree(mvtec / 'metal_nut/test/scratch')
    report = audit_anomalies(dataset('mvtec_ad', mvtec))
    assert report.ok
    assert [line.split(',')[0] for line in report.suggestions()] == [
        'grid: no normal picture',
        'metal_nut: no anomalous picture',
    ]


def test_the_tool_reads_configs_of_anomaly_sets(mvtec):
    config = Config(dict(test_dataloader=dict(dataset=dict(type='MVTecADDataset', data_root=str(mvtec)))))
    [(name, report)] = audit_split(config, 'test')
    assert (name, report.ok) == ('test', True)
    config.test_dataloader.dataset.data_root = str(mvtec / 'nothing')
    [(_, report)] = audit_split(config, 'test')
    assert not report.ok and 'nothing' in report.render()


@pytest.mark.parametrize('link', [False, True])
def test_magnetic_tile_becomes_mvtec(tmp_path, link):
    source = make('magnetic_tile', tmp_path / 'source')
    assert convert_magnetic_tile(source, tmp_path / 'new', link=link) == {'blowhole': 1, 'crack': 1, 'good': 2}
    before, after = dataset('magnetic_tile', source), dataset('mvtec_ad', tmp_path / 'new')
    assert len(before) == len(after) and audit_anomalies(after).ok
    assert (tmp_path / 'new/magnetic_tile/test/good/exp1_num_1000.jpg').is_symlink() is link
    with pytest.raises(ConversionError, match='exists already'):
        convert_magnetic_tile(source, tmp_path / 'new')
    with pytest.raises(ConversionError, match='MT_Free'):
        convert_magnetic_tile(tmp_path / 'new', tmp_path / 'other')


def test_a_fault_stops_the_conversion(tmp_path):
    source = make('visa', tmp_path / 'source')
    Image.new('L', (5, 5), 1).save(source / 'pcb1/Data/Masks/Anomaly/000.png')
    with pytest.raises(ConversionError, match=r'000\.png: size \(5, 5\) differs'):
        convert_visa(source, tmp_path / 'new')
    with pytest.raises(ConversionError, match='split_csv'):
        convert_visa(tmp_path, tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


def test_meta_json(mvtec, tmp_path):
    splits = [DATASETS.build(dict(type='MVTecADDataset', data_root=str(mvtec), split=s)) for s in ('train', 'test')]
    assert write_anomaly_meta(splits, tmp_path / 'meta.json') == {'train': 4, 'test': 8}
    assert json.loads((tmp_path / 'meta.json').read_text()) == anomaly_meta(splits)
    with pytest.raises(ConversionError, match='exists already'):
        write_anomaly_meta(splits, tmp_path / 'meta.json')
