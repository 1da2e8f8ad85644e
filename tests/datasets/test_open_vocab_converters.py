"""COCO-Stuff, COCO-Object, Cityscapes and PASCAL Context: from what is downloaded to what the classes read."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmengine.config import Config
from PIL import Image
from scipy.io import savemat

from denseclip.cli.main import main
from denseclip.datasets.audit import audit_split
from denseclip.datasets.converters import (
    ConversionError,
    cityscapes,
    coco,
    convert_cityscapes,
    convert_coco_object,
    convert_coco_stuff,
    convert_pascal_context,
    pascal_context,
)
from denseclip.datasets.converters.relabel import id_table

REPOSITORY = Path(__file__).parents[2]
SIZE = (24, 32)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def write(labels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def raw_coco(root: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """COCO-Stuff as it is downloaded, and the train ids that should come of it."""
    made = write_dataset('coco_stuff164k', root / 'made', num_train=2, num_val=2, size=SIZE)
    back = np.array([*sorted(set(coco.STUFF_IDS) - {255}), *[255] * 85])
    wanted = {}
    for path in list(made.glob('annotations/*/*.png')):
        name = path.name.replace('_labelTrainIds', '')
        wanted[name] = read(path)
        write(back[wanted[name]], path.with_name(name))
        path.unlink()
    return made, wanted


def raw_cityscapes(root: Path) -> tuple[Path, dict[str, np.ndarray]]:
    made = write_dataset('cityscapes', root / 'made', num_train=2, num_val=1, size=SIZE)
    wanted = {}
    for path in list(made.glob('gtFine/*/*/*.png')):
        labels = wanted[path.name] = read(path)
        raw = np.array([*cityscapes.SCORED, *[0] * 237])[labels]
        raw[labels == 255] = np.resize([0, 1, 2, 3, 5, 6, 9, 10, 14, 18, 29, 30], (labels == 255).sum())
        write(raw, path.with_name(path.name.replace('TrainIds', 'Ids')))
        path.unlink()
    return made, wanted


def raw_context(root: Path) -> tuple[Path, dict[str, np.ndarray]]:
    made = write_dataset('pascal_context', root / 'VOC2010', num_train=2, num_val=1, size=SIZE)
    back = np.array([1, *pascal_context.KEPT])
    wanted = {}
    for path in list(made.glob('SegmentationClassContext/*.png')):
        wanted[path.name] = read(path)
        (root / 'matrices').mkdir(exist_ok=True)
        savemat(root / 'matrices' / f'{path.stem}.mat', {'LabelMap': back[wanted[path.name]].astype(np.uint16)})
        path.unlink()
    (made / 'ImageSets/SegmentationContext').rename(made / 'ImageSets/Main')
    return made, wanted


def audit(dataset: dict) -> None:
    """What ``tools/check_dataset.py`` reports about a converted set."""
    config = Config(dict(val_dataloader=dict(dataset=dataset)))
    for _, report in audit_split(config, 'val'):
        assert report.ok, report.render()


@pytest.mark.parametrize('link', [False, True])
def test_coco_stuff(tmp_path: Path, link: bool) -> None:
    source, wanted = raw_coco(tmp_path)
    target = tmp_path / 'coco_stuff164k'
    assert convert_coco_stuff(source, target, splits=['val2017', 'train2017'], link=link) == {
        'val2017': 2,
        'train2017': 2,
    }
    for path in target.glob('annotations/*/*_labelTrainIds.png'):
        assert (read(path) == wanted[path.name.replace('_labelTrainIds', '')]).all()
    picture = target / 'images/val2017/000000000139.jpg'
    assert picture.is_symlink() == link and picture.read_bytes()
    prefix = dict(img_path='images/val2017', seg_map_path='annotations/val2017')
    audit(dict(type='COCOStuffDataset', data_root=str(target), data_prefix=prefix))


def test_coco_object(tmp_path: Path) -> None:
    source, wanted = raw_coco(tmp_path)
    target = tmp_path / 'coco_object'
    assert convert_coco_object(source, target) == {'val2017': 2}
    assert not (target / 'images/train2017').exists()
    for path in target.glob('annotations/val2017/*'):
        stuff_ids = wanted[path.name.replace('_instanceTrainIds', '')]
        assert (read(path) == np.where(stuff_ids < 80, stuff_ids + 1, 0)).all()
    prefix = dict(img_path='images/val2017', seg_map_path='annotations/val2017')
    audit(dict(type='COCOObjectDataset', data_root=str(target), data_prefix=prefix))


def test_cityscapes(tmp_path: Path) -> None:
    source, wanted = raw_cityscapes(tmp_path)
    target = tmp_path / 'cityscapes'
    assert convert_cityscapes(source, target) == {'train': 2, 'val': 1}
    found = list(target.glob('gtFine/*/*/*_labelTrainIds.png'))
    assert len(found) == 3 and all((read(path) == wanted[path.name]).all() for path in found)
    prefix = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
    audit(dict(type='CityscapesDataset', data_root=str(target), data_prefix=prefix))


def test_pascal_context(tmp_path: Path) -> None:
    source, wanted = raw_context(tmp_path)
    target = tmp_path / 'data/VOC2010'
    assert convert_pascal_context(source, tmp_path / 'matrices', target) == {'train': 2, 'val': 1}
    found = list(target.glob('SegmentationClassContext/*.png'))
    assert len(found) == 3 and all((read(path) == wanted[path.name]).all() for path in found)
    for kind in ('PascalContextDataset', 'PascalContextDataset59'):
        prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext')
        listing = 'ImageSets/SegmentationContext/val.txt'
        audit(dict(type=kind, data_root=str(target), data_prefix=prefix, ann_file=listing))


def test_tables_keep_every_class_and_its_order() -> None:
    """80 things among ids 0 to 90, 91 stuff classes; 19 and 59 classes."""
    assert sorted(coco.STUFF_IDS.values()) == [*range(171), 255]
    assert coco.STUFF_IDS[0] == 0 and coco.STUFF_IDS[89] == 79 and coco.STUFF_IDS[91] == 80
    assert coco.STUFF_IDS[181] == 170
    assert sorted(set(coco.OBJECT_IDS.values())) == list(range(81))
    assert len(cityscapes.SCORED) == 19 and len(pascal_context.KEPT) == 59
    assert list(pascal_context.KEPT) == sorted(pascal_context.KEPT)
    assert id_table({3: 1}, size=5, other=0).tolist() == [0, 0, 0, 1, 0]


def break_ids(root: Path) -> None:
    write(np.full(SIZE, 200), root / 'annotations/val2017/000000000139.png')


def break_gap(root: Path) -> None:
    write(np.full(SIZE, 11), root / 'annotations/val2017/000000000139.png')


def break_size(root: Path) -> None:
    write(np.zeros((5, 5)), root / 'annotations/val2017/000000000139.png')


def break_pair(root: Path) -> None:
    (root / 'annotations/val2017/000000000139.png').unlink()


def break_orphan(root: Path) -> None:
    (root / 'images/val2017/000000000139.jpg').unlink()


def break_picture(root: Path) -> None:
    path = root / 'images/val2017/000000000139.jpg'
    path.write_bytes(path.read_bytes()[:300])


def break_folder(root: Path) -> None:
    (root / 'images/val2017').rename(root / 'images/elsewhere')


@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (break_ids, r'000000000139.png: ids \[200\]'),
        (break_gap, r'000000000139.png: ids \[11\]'),
        (break_size, r'000000000139.png: size \(5, 5\)'),
        (break_pair, '000000000139.jpg: has no label map'),
        (break_orphan, '000000000139.png: has no picture'),
        (break_picture, '000000000139.jpg: cannot be read'),
        (break_folder, 'no folder .*images/val2017'),
    ],
)
def test_damaged_source_is_named_and_the_old_target_stays(
    tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    source, _ = raw_coco(tmp_path)
    target = tmp_path / 'coco_object'
    convert_coco_object(source, target)
    before = sorted(p.read_bytes() for p in target.rglob('*.png'))
    damage(source)
    with pytest.raises(ConversionError, match=named):
        convert_coco_object(source, target, force=True)
    assert sorted(p.read_bytes() for p in target.rglob('*.png')) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_context_names_what_is_missing(tmp_path: Path) -> None:
    source, _ = raw_context(tmp_path)
    first = next((tmp_path / 'matrices').iterdir())
    savemat(first, {'Other': np.zeros(SIZE)})
    with pytest.raises(ConversionError, match='holds no matrix LabelMap'):
        convert_pascal_context(source, tmp_path / 'matrices', tmp_path / 'out')
    first.write_bytes(b'no matrix at all')
    with pytest.raises(ConversionError, match=f'{first.name}: cannot be read'):
        convert_pascal_context(source, tmp_path / 'matrices', tmp_path / 'out')
    first.unlink()
    with pytest.raises(ConversionError, match=f'{first.name}: no such file'):
        convert_pascal_context(source, tmp_path / 'matrices', tmp_path / 'out')
    with pytest.raises(ConversionError, match='ImageSets/Main/train.txt'):
        convert_pascal_context(tmp_path, tmp_path / 'matrices', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_source_is_never_the_target(tmp_path: Path) -> None:
    source, wanted = raw_coco(tmp_path)
    with pytest.raises(ConversionError, match='same folder'):
        convert_coco_stuff(source, source, force=True)
    assert len(list(source.glob('annotations/*/*.png'))) == len(wanted)


def test_commands_report_and_exit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, _ = raw_coco(tmp_path)
    command = ['convert', 'coco_object', str(source), str(tmp_path / 'out')]
    assert main(command) == 0 and '2 val2017' in capsys.readouterr().out
    assert main(command) == 2 and '--force' in capsys.readouterr().err


def test_converted_set_passes_the_audit_of_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """``tools/check_dataset.py`` with the config that evaluates on the set, which has no training split."""
    source, _ = raw_coco(tmp_path)
    convert_coco_object(source, tmp_path / 'coco_object')
    spec = importlib.util.spec_from_file_location('tool_check_dataset', REPOSITORY / 'tools/check_dataset.py')
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    roots = [f'{split}_dataloader.dataset.data_root={tmp_path / "coco_object"}' for split in ('val', 'test')]
    config = REPOSITORY / 'configs/maskclip/maskclip_vit-b16_zs_cocoobject-448x448.py'
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', str(config), '--cfg-options', *roots])
    assert tool.main() == 0
    path = next((tmp_path / 'coco_object/annotations/val2017').iterdir())
    write(np.full(SIZE, 99), path)
    assert tool.main() == 1
    assert path.name in capsys.readouterr().out
