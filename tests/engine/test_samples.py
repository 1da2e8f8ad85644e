"""What is wrong with data is said before, or with the sample's name."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from denseclip.engine.config import OptionError
from denseclip.engine.data import SeededDataset, SeededIndex
from denseclip.engine.data.samples import (
    DamagedSampleError,
    NamedPipeline,
    SampleError,
    explained,
    name_samples,
    require_data,
)

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackSegInputs'),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset('camvid', tmp_path / 'CamVid', num_train=2, num_val=1, size=(24, 32))


def config(root: Path, **more) -> dict:
    prefix = dict(img_path='train', seg_map_path='trainannot')
    return dict(type='CamVidDataset', data_root=str(root), data_prefix=prefix, pipeline=PIPELINE, **more)


def build(settings: dict):
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(settings)
    name_samples(dataset)
    return dataset


PICTURE, LABELS = 'train/train_000000.png', 'trainannot/train_000000.png'
FAULTS = {
    'empty picture': (PICTURE, b'', "picture '.*train/train_000000.png' is empty, damaged or no picture"),
    'cut picture': (PICTURE, 60, 'is empty, damaged or no picture'),
    'text for a picture': (PICTURE, b'hello', 'is empty, damaged or no picture'),
    'no picture': (PICTURE, None, "picture '.*train_000000.png' does not exist"),
    'cut labels': (LABELS, 60, "label map '.*trainannot/train_000000.png' is empty, damaged or no picture"),
    'empty labels': (LABELS, b'', "label map '.*trainannot/train_000000.png' is empty, damaged or no picture"),
    'no labels': (LABELS, None, "label map '.*train_000000.png' does not exist"),
    'small labels': (LABELS, np.zeros((12, 16), np.uint8), r"is 16 x 12, its picture '.*' is 32 x 24"),
    'colours': (LABELS, np.zeros((24, 32, 3), np.uint8), 'holds 3 colours'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_the_sample_that_cannot_be_read_is_named(root: Path, fault: str) -> None:
    name, content, message = FAULTS[fault]
    file = root / name
    dataset = build(config(root))
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    elif isinstance(content, np.ndarray):
        Image.fromarray(content).save(file)
    else:
        file.write_bytes(whole[:content] if isinstance(content, int) else content)
    with pytest.raises(DamagedSampleError, match=message) as caught:
        dataset[0]
    assert '\n' not in str(caught.value)
    assert dataset[1]['inputs'].shape[-1] == 32  # the others are read as before


def test_another_sample_stands_in_for_a_damaged_one_if_that_is_wished(root: Path) -> None:
    whole = (root / LABELS).read_bytes()
    (root / LABELS).write_bytes(whole[:60])
    dataset = build(config(root))
    with pytest.raises(DamagedSampleError, match='train_000000'):
        SeededDataset(dataset, 3)[SeededIndex(0, (0, 5))]
    lenient = pickle.loads(pickle.dumps(SeededDataset(dataset, 3, 'skip')))
    sample = lenient[SeededIndex(0, (0, 5))]
    assert sample['data_samples'].img_path.endswith('train_000001.png')
    assert 'train_000000.png' in sample['data_samples'].damaged[0]
    assert 'damaged' not in lenient[SeededIndex(1, (0, 6))]['data_samples']
    for name in ('train_000000.png', 'train_000001.png'):
        (root / 'trainannot' / name).write_bytes(b'')
    with pytest.raises(SampleError, match='11 samples in a row are damaged'):
        lenient[SeededIndex(0, (0, 5))]
    with pytest.raises(ValueError, match="'ignore'"):
        SeededDataset(dataset, 3, 'ignore')


def test_what_other_files_would_fail_on_alike_is_no_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer, and a step of the pipeline that is wrong: nothing is skipped for them."""
    wrong = {**config(root), 'pipeline': [*PIPELINE[:2], dict(type='Normalize', mean=[0.0, 0.0], std=[1.0] * 3)]}
    with pytest.raises(SampleError, match='Normalize') as caught:
        SeededDataset(build(wrong), 3, 'skip')[SeededIndex(0, (0, 5))]
    assert not isinstance(caught.value, DamagedSampleError)

    def dead(*args: object, **options: object) -> bytes:
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr('mmengine.fileio.get', dead)
    with pytest.raises(SampleError, match='cannot be read: Input/output error'):
        SeededDataset(build(config(root)), 3, 'skip')[SeededIndex(0, (0, 5))]


def test_errors_of_later_steps_name_picture_labels_and_step(root: Path) -> None:
    steps = [*PIPELINE[:2], dict(type='Normalize', mean=[0.0, 0.0], std=[1.0, 1.0, 1.0]), PIPELINE[3]]
    with pytest.raises(SampleError, match=r"picture '.*train_000000.png' \(label map '.*'\): Normalize fails with"):
        build({**config(root), 'pipeline': steps})[0]


def test_a_pipeline_that_wants_labels_says_so(root: Path) -> None:
    with pytest.raises(SampleError, match='has no label map, and the pipeline'):
        build({**config(root), 'data_prefix': dict(img_path='train')})[0]


def test_wrapped_sets_are_named_too_and_travel_to_other_processes(root: Path) -> None:
    both = dict(
        type='ConcatDataset', datasets=[config(root), dict(type='RepeatDataset', dataset=config(root), times=2)]
    )
    dataset = pickle.loads(pickle.dumps(build(both)))
    (root / PICTURE).unlink()
    for index in (0, 2, 4):
        with pytest.raises(SampleError):
            dataset[index]
    assert isinstance(dataset.datasets[0].pipeline, NamedPipeline)
    assert [type(step).__name__ for step in dataset.datasets[0].pipeline.transforms][0] == 'LoadImageFromFile'


def run_config(**loaders) -> Config:
    return Config(dict(default_scope='mmseg', **{f'{k}_dataloader': dict(dataset=v) for k, v in loaders.items()}))


def test_missing_folders_are_named_with_their_source(root: Path, tmp_path: Path) -> None:
    require_data(run_config(train=config(root), val=config(root)), ('train', 'val', 'test'))
    with pytest.raises(
        OptionError, match=r"val data: '.*nowhere' does not exist\. CamVid: git clone .*denseclip convert camvid"
    ):
        require_data(run_config(train=config(root), val=config(tmp_path / 'nowhere')), ('train', 'val'))
    without = {**config(root), 'data_prefix': dict(img_path='pictures')}
    with pytest.raises(OptionError, match=r"CamVid/pictures' does not exist"):
        require_data(run_config(train=dict(type='RepeatDataset', dataset=without, times=2)), ('train',))
    listed = {**config(root), 'ann_file': 'names.txt'}
    with pytest.raises(OptionError, match=r"names\.txt' does not exist"):
        require_data(run_config(train=dict(type='ConcatDataset', datasets=[config(root), listed])), ('train',))


def test_what_other_classes_make_of_their_arguments_is_left_to_them(tmp_path: Path) -> None:
    @DATASETS.register_module(name='FetchesItsData', force=True)
    class FetchesItsData:
        """Makes its folder when it is built."""

    require_data(run_config(train=dict(type='FetchesItsData', data_root=str(tmp_path / 'later'))), ('train',))
    require_data(run_config(train=dict(type='CamVidDataset', data_root='s3://bucket/CamVid')), ('train',))


def test_a_set_without_pictures_is_no_error_of_numpy(root: Path) -> None:
    settings = config(root, img_suffix='.jpg')
    with (
        pytest.raises(OptionError, match=r"no picture that ends in '\.jpg' in '.*CamVid', folder 'train'"),
        explained(settings),
    ):
        build(settings)
