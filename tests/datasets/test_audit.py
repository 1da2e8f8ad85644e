"""The data set audit finds each kind of damage, names it and gives the fitting advice."""

from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from PIL import Image

from denseclip.datasets.audit import audit_dataset, audit_split
from denseclip.datasets.audit_report import AuditReport
from denseclip.datasets.label_map_dataset import loader_id


def save(root: Path, name: str, labels: np.ndarray, image_size: tuple[int, int] | None = None) -> None:
    (root / 'img').mkdir(parents=True, exist_ok=True)
    (root / 'ann').mkdir(exist_ok=True)
    height, width = image_size or labels.shape
    Image.new('RGB', (width, height)).save(root / 'img' / f'{name}.jpg')
    Image.fromarray(labels).save(root / 'ann' / f'{name}.png')


def audit(root: Path, classes: tuple[str, ...] = ('road', 'sky', 'car'), **kwargs) -> AuditReport:
    dataset = BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=classes),
        serialize_data=False,
        **kwargs,
    )
    return audit_dataset(dataset)


def ids(*values: int) -> np.ndarray:
    return np.array([values], dtype=np.uint8)


def test_sound_set(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 0, 1, 255))
    save(tmp_path, 'b', ids(2, 2, 2, 1))
    report = audit(tmp_path)
    assert report.ok and report.num_samples == 2
    assert report.class_pixels.tolist() == [2, 2, 3] and report.class_files.tolist() == [1, 2, 1]
    assert report.ignored_pixels == 1 and report.num_pixels == 8
    text = report.render()
    assert 'OK' in text and 'HINT' not in text
    assert '25.000 %' in text and '12.500 %' in text


def test_missing_label_and_orphan(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2))
    save(tmp_path, 'b', ids(0, 1, 2))
    save(tmp_path, 'c', ids(0, 1, 2))
    (tmp_path / 'ann' / 'a.png').unlink()
    (tmp_path / 'img' / 'b.jpg').unlink()
    report = audit(tmp_path)
    assert {p.kind for p in report.problems} == {'unpaired'}
    text = report.render()
    assert 'a.jpg: has no label map' in text and 'b.png: has no picture' in text


def test_ids_out_of_range_are_listed_with_file(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2, 77))
    report = audit(tmp_path)
    assert not report.ok
    assert 'a.png: label ids out of range: 77' in report.render()
    assert any('mapped to 255' in hint for hint in report.suggestions())


def test_ids_shifted_by_one(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(1, 2, 3, 0))
    report = audit(tmp_path)
    assert any('reduce_zero_label=True' in hint for hint in report.suggestions())
    repaired = audit(tmp_path, reduce_zero_label=True)
    assert repaired.ok and repaired.class_pixels.tolist() == [1, 1, 1] and repaired.ignored_pixels == 1


def test_zero_ignored_by_mistake(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2, 2))
    assert any('reduce_zero_label=False' in hint for hint in audit(tmp_path, reduce_zero_label=True).suggestions())
    assert not any('reduce_zero_label' in hint for hint in audit(tmp_path).suggestions())


def test_size_differs(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2), image_size=(1, 5))
    report = audit(tmp_path)
    assert [p.kind for p in report.problems] == ['size'] and 'a.png' in report.problems[0].message


def test_unreadable_files_do_not_stop_the_audit(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2))
    save(tmp_path, 'b', ids(0, 1, 2))
    (tmp_path / 'img' / 'a.jpg').write_bytes(b'')
    report = audit(tmp_path)
    assert [p.kind for p in report.problems] == ['unreadable']
    assert report.class_pixels.sum() == 6


def test_colour_label_maps_and_wide_ids_get_advice(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2))
    Image.new('RGB', (3, 1)).save(tmp_path / 'ann' / 'a.png')
    save(tmp_path, 'b', np.array([[0, 1, 256]], dtype=np.uint16))
    report = audit(tmp_path)
    hints = ' '.join(report.suggestions())
    assert 'hold colours' in hints and 'above 255' in hints
    assert report.wrong_pixels == {256: 1}


def test_absent_classes_and_many_ignored_pixels_are_hints_not_problems(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(1, 255, 255))
    report = audit(tmp_path)
    assert report.ok and report.absent == ('road', 'car')
    hints = ' '.join(report.suggestions())
    assert 'road, car' in hints and 'ignored' in hints


def test_masks_of_0_and_255_are_a_problem(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 255, 255))
    report = audit(tmp_path)
    assert not report.ok and 'only 0 and 255' in report.render()
    save(tmp_path, 'b', ids(1, 2, 0))
    assert audit(tmp_path).ok


def test_empty_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / 'img').mkdir()
    (tmp_path / 'ann').mkdir()
    report = audit(tmp_path)
    assert not report.ok and "no file ends in '.jpg'" in report.render()


def test_long_lists_are_cut(tmp_path: Path) -> None:
    for index in range(6):
        save(tmp_path, f'{index}', ids(0, 1, 9))
    text = audit(tmp_path).render(max_problems=2)
    assert text.count('label ids out of range') == 2 and '... and 4 more' in text


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 7: 3}])
def test_ids_are_mapped_as_the_loader_maps_them(tmp_path: Path, reduce_zero_label: bool, label_map) -> None:
    path = tmp_path / 'all.png'
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    load = TRANSFORMS.build(dict(type='LoadAnnotations'))
    loaded = load(dict(seg_map_path=str(path), reduce_zero_label=reduce_zero_label, label_map=label_map, seg_fields=[]))
    ours = [loader_id(i, reduce_zero_label, label_map) for i in range(256)]
    assert loaded['gt_seg_map'].ravel().tolist() == ours


def test_split_of_a_config_with_wrappers(tmp_path: Path) -> None:
    root = write_dataset('camvid', tmp_path / 'd', num_train=2, num_val=1, size=(24, 32))
    part = dict(
        type='CamVidDataset', data_root=str(root), data_prefix=dict(img_path='train', seg_map_path='trainannot')
    )
    val = dict(part, data_prefix=dict(img_path='val', seg_map_path='valannot'))
    config = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[part, val]))
            )
        )
    )
    reports = dict(audit_split(config, 'train'))
    assert [r.num_samples for r in reports.values()] == [2, 1] and all(r.ok for r in reports.values())
    with pytest.raises(KeyError, match='test_dataloader'):
        list(audit_split(config, 'test'))


def test_missing_known_set_says_how_to_get_it(tmp_path: Path) -> None:
    dataset = dict(type='MVTecADDataset', data_root=str(tmp_path / 'mvtec'), split='test', pipeline=[])
    config = Config(dict(default_scope='mmseg', test_dataloader=dict(dataset=dataset)))
    ((_, report),) = audit_split(config, 'test')
    assert not report.ok and 'www.mvtec.com' in report.render()


def test_missing_root_is_reported_not_raised(tmp_path: Path) -> None:
    dataset = dict(type='CamVidDataset', data_root=str(tmp_path / 'no'), data_prefix=dict(img_path='train'))
    ((_, report),) = audit_split(Config(dict(val_dataloader=dict(dataset=dataset))), 'val')
    assert not report.ok and 'CamVidDataset' in report.render()


def turn(path: Path, orientation: int = 6) -> None:
    """Give a picture an EXIF orientation; its pixels stay where they are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)
    image.save(path, exif=exif)


def test_label_maps_of_turned_pictures(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2).T, image_size=(1, 3))
    turn(tmp_path / 'img/a.jpg')
    report = audit(tmp_path)
    assert report.ok and report.sizes == {(3, 1): 1} and 'EXIF' not in report.render()
    save(tmp_path, 'b', ids(0, 1, 2))
    turn(tmp_path / 'img/b.jpg')
    (problem,) = audit(tmp_path).problems
    assert problem.kind == 'size' and 'b.png' in problem.message and 'before turning' in problem.message


def test_pictures_whose_size_does_not_show_their_turn_get_a_hint(tmp_path: Path) -> None:
    save(tmp_path, 'a', np.array([[0, 1], [2, 2]], np.uint8))
    assert 'EXIF' not in audit(tmp_path).render()
    turn(tmp_path / 'img/a.jpg')
    report = audit(tmp_path)
    assert report.ok and 'a.jpg: training turns them' in report.render()


def test_sizes_are_those_of_the_config_that_reads_pictures_as_stored(tmp_path: Path) -> None:
    save(tmp_path, 'a', ids(0, 1, 2))
    turn(tmp_path / 'img/a.jpg')
    loads = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    part = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('a', 'b', 'c')),
    )
    for pipeline, sound in (([loads], True), ([dict(type='LoadImageFromFile')], False)):
        config = Config(dict(train_dataloader=dict(dataset=dict(**part, pipeline=pipeline))))
        ((_, report),) = audit_split(config, 'train')
        assert report.ok is sound
