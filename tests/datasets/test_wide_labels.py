"""Sets whose ids need 16 bits: converted, loaded and scored without losing any of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image
from scipy.io import savemat

from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets import ADE20KFullDataset, PascalContextDataset459
from denseclip.datasets.converters import ConversionError, convert_ade20k_full, convert_pascal_context459
from denseclip.datasets.converters.ade20k_full import source_ids
from denseclip.datasets.converters.pascal_context import KEPT
from denseclip.datasets.converters.relabel import shrunk_size

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadWideAnnotations'), dict(type='PackSegInputs')]


def raw_ade(root: Path, numbers: np.ndarray, name: str = 'ADE_val_00000001') -> Path:
    folder = root / 'ADE20K_2021_17_01' / 'images' / 'ADE' / 'validation' / 'urban' / 'street'
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*numbers.shape, 3), 90, np.uint8)).save(folder / f'{name}.jpg')
    pixels = np.stack([numbers // 256 * 10, numbers % 256, numbers * 0], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f'{name}_seg.png')
    return root / 'ADE20K_2021_17_01'


def load(dataset: dict) -> list[np.ndarray]:
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = DATASETS.build(dict(pipeline=LOAD, **dataset))
        return [data[i]['data_samples'].gt_sem_seg.data[0].numpy() for i in range(len(data))]


def test_ade20k_full(tmp_path: Path) -> None:
    ids = source_ids()
    numbers = np.array([[ids[0], ids[846], ids[300], 0], [3, ids[255], ids[256], ids[65]]] * 2)
    source = raw_ade(tmp_path, numbers)
    assert convert_ade20k_full(source, tmp_path / 'out') == {'validation': 1}
    prefix = dict(img_path='images/validation', seg_map_path='annotations/validation')
    (labels,) = load(dict(type='ADE20KFullDataset', data_root=str(tmp_path / 'out'), data_prefix=prefix))
    known = {number: k for k, number in enumerate(ids)}
    assert labels.tolist() == [[known.get(n, 65535) for n in row] for row in numbers.tolist()]
    assert 846 in labels and 255 in labels and 256 in labels


def test_large_pictures_are_shrunk_with_their_labels(tmp_path: Path) -> None:
    numbers = np.full((520, 700), source_ids()[500])
    convert_ade20k_full(raw_ade(tmp_path, numbers), tmp_path / 'out')
    with Image.open(tmp_path / 'out/images/validation/ADE_val_00000001.jpg') as image:
        assert image.size == (689, 512)
    with Image.open(tmp_path / 'out/annotations/validation/ADE_val_00000001.png') as labels:
        assert labels.size == (689, 512) and set(np.unique(labels)) == {500}
    assert shrunk_size((512, 3000), 512) == (512, 3000)


def test_problems_name_the_file_and_nothing_is_written(tmp_path: Path) -> None:
    source = raw_ade(tmp_path, np.zeros((4, 4), int))
    seg = next(source.rglob('*_seg.png'))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(seg)
    with pytest.raises(ConversionError, match='three channels'):
        convert_ade20k_full(source, tmp_path / 'out')
    seg.unlink()
    with pytest.raises(ConversionError, match=seg.name):
        convert_ade20k_full(source, tmp_path / 'out')
    with pytest.raises(ConversionError, match='images/ADE/training'):
        convert_ade20k_full(source, tmp_path / 'out', splits=('training',))
    assert not (tmp_path / 'out').exists()


def test_context459(tmp_path: Path) -> None:
    made = write_dataset('pascal_context', tmp_path / 'VOC2010', num_train=1, num_val=1, size=(24, 32))
    (made / 'ImageSets/SegmentationContext').rename(made / 'ImageSets/Main')
    (tmp_path / 'matrices').mkdir()
    rng = np.random.default_rng(0)
    wanted = {}
    for path in (made / 'JPEGImages').glob('*.jpg'):
        with Image.open(path) as image:
            matrix = rng.integers(0, 460, (image.height, image.width)).astype(np.uint16)
        savemat(tmp_path / 'matrices' / f'{path.stem}.mat', {'LabelMap': matrix})
        wanted[path.stem] = np.where(matrix == 0, 65535, matrix.astype(int) - 1)
    assert convert_pascal_context459(made, tmp_path / 'matrices', tmp_path / 'out') == {'train': 1, 'val': 1}
    prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext459')
    names = 'ImageSets/SegmentationContext/val.txt'
    (labels,) = load(
        dict(type='PascalContextDataset459', data_root=str(tmp_path / 'out'), data_prefix=prefix, ann_file=names)
    )
    assert (labels == wanted[(tmp_path / 'out' / names).read_text().strip()]).all()


@pytest.mark.parametrize('layout', ['ade20k_full', 'pascal_context459'])
def test_generated_sets_use_more_than_8_bits(tmp_path: Path, layout: str) -> None:
    root = write_dataset(layout, tmp_path / 'x', num_train=1, num_val=2, size=(24, 32))
    ids = np.unique(np.concatenate([np.unique(np.asarray(Image.open(path))) for path in root.rglob('*.png')]))
    assert any(255 < i < 65535 for i in ids.tolist()) and ids.max() == 65535


def test_fewer_classes_leave_the_others_ignored(tmp_path: Path) -> None:
    root = write_dataset('ade20k_full', tmp_path / 'x', num_train=1, num_val=1, size=(24, 32))
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    everything = dict(type='ADE20KFullDataset', data_root=str(root), data_prefix=prefix)
    (full,) = load(everything)
    kept = sorted(set(np.unique(full).tolist()) - {65535})[-1]
    names = [ADE20KFullDataset.METAINFO['classes'][kept]]
    (few,) = load(dict(**everything, metainfo=dict(classes=names)))
    assert ((few == 0) == (full == kept)).all() and set(np.unique(few)) == {0, 65535}


def test_class_lists_are_in_label_order() -> None:
    assert len(source_ids()) == len(set(source_ids())) == len(ADE20KFullDataset.METAINFO['classes']) == 847
    assert len(PascalContextDataset459.METAINFO['classes']) == 459
    context = Vocabulary.named('context459').names
    assert [context[i - 1] for i in KEPT] == list(Vocabulary.named('context59_ovseg').names)
    assert len(Vocabulary.named('ade20k_ovseg')) == 150 and len(Vocabulary.named('voc20_ovseg')) == 20
    assert Vocabulary.named('ade20k_ovseg').names[6] == 'road, route'
