"""Metafiles, README tables and configs say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tiny_config import (
    CONFIGS,
    all_configs,
    anomaly_resize,
    crop_size,
    dicts,
    forget_weights,
    is_anomaly,
    is_mask_model,
    is_region,
    pipelines,
    region_side,
    trains,
)

from denseclip.clip.vocabulary import Vocabulary

METHODS = sorted(p.parent for p in CONFIGS.glob('*/metafile.yml'))
NAME = re.compile(r'^[a-z0-9.-]+(_[a-z0-9.-]+)*_[a-z0-9]+-\d+x\d+(_[a-z0-9-]+)?$')


def entries(folder: Path) -> list[dict]:
    return yaml.safe_load((folder / 'metafile.yml').read_text(encoding='utf-8'))['Models']


ALL_ENTRIES = [pytest.param(e, id=e['Name']) for folder in METHODS for e in entries(folder)]


def test_every_method_has_tables() -> None:
    for folder in {path.parts[0] for path in all_configs()}:
        assert (CONFIGS / folder / 'metafile.yml').is_file(), folder
        assert (CONFIGS / folder / 'README.md').is_file(), folder


@pytest.mark.parametrize('folder', METHODS, ids=lambda p: p.name)
def test_metafile_lists_each_config_once(folder: Path) -> None:
    listed = [entry['Config'] for entry in entries(folder)]
    assert sorted(listed) == [f'configs/{folder.name}/{p.name}' for p in sorted(folder.glob('*.py'))]
    for entry in entries(folder):
        assert Path(entry['Config']).stem == entry['Name']
        assert 'Results' not in entry or entry['Results']['Source']


@pytest.mark.parametrize('folder', METHODS, ids=lambda p: p.name)
def test_readme_rows_agree_with_the_metafile(folder: Path) -> None:
    text = (folder / 'README.md').read_text(encoding='utf-8')
    rows = {m[1]: line for line in text.splitlines() if (m := re.match(r'\| \[[^]]+\]\(([^)]+)\.py\)', line))}
    assert sorted(rows) == sorted(entry['Name'] for entry in entries(folder))
    for entry in entries(folder):
        cells = [cell.strip() for cell in rows[entry['Name']].split('|')]
        numbers = [*entry.get('Results', {}).get('Metrics', {}).values()]
        numbers += [value for key, value in entry['Metadata'].items() if key.startswith('Parameters')]
        for number in numbers:
            assert {f'{number}', f'{number:.2f}'} & set(cells), (entry['Name'], number)


@pytest.mark.parametrize('folder', METHODS, ids=lambda p: p.name)
def test_readme_names_only_existing_files(folder: Path) -> None:
    text = (folder / 'README.md').read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)#:]+)\)', text):
        assert (folder / target).exists(), target
    for target in re.findall(r'\b((?:configs|tools)/[\w./-]+\.py)\b', text):
        assert (CONFIGS.parent / target).exists(), target


def num_classes(config: Config) -> int:
    """Number of classes of the head, or of the vocabulary where the text decides."""
    head = config.model.get('decode_head') or {}
    return head['num_classes'] if 'num_classes' in head else len(Vocabulary.of(config.model.vocabulary))


def training_classes(config: Config) -> int:
    """Number of classes of the training set, where a model is tested on others."""
    vocabulary = config.model.get('train_vocabulary')
    return num_classes(config) if vocabulary is None else len(Vocabulary.of(vocabulary))


def assert_consistent_for_testing(config: Config, size: tuple[int, int]) -> None:
    """What a config without training says of sizes and classes agrees with itself."""
    assert tuple(config.model.test_cfg.get('crop_size', size)) == size
    assert config.test_dataloader == config.val_dataloader and config.test_evaluator == config.val_evaluator
    for step in dicts(pipelines(config)):
        if step.get('type') == 'Resize':
            assert min(step['scale']) >= min(size)
        if step.get('type') == 'CheckLabelRange':
            assert step['num_classes'] == len(Vocabulary.of(config.model.vocabulary))


def assert_anomaly_is_consistent(config: Config, size: tuple[int, int]) -> None:
    """Maps and masks meet at one resolution, and the model gets the pictures that it resizes to."""
    assert config.test_dataloader == config.val_dataloader and config.test_evaluator == config.val_evaluator
    resize = anomaly_resize(config)
    assert resize.mask is (config.model.get('map_size') == 'input')
    assert isinstance(resize['size'], int) is bool(config.model.get('keep_ratio'))
    assert crop_size(config) == size and config.test_dataloader.sampler.round_up is False
    assert config.model.get('image_size', size[0]) == size[0]


@pytest.mark.parametrize('path', all_configs(), ids=lambda p: p.stem)
def test_config_is_consistent(path: Path) -> None:
    assert NAME.match(path.stem), path.stem
    config = Config.fromfile(CONFIGS / path)
    height, width = map(int, re.search(r'-(\d+)x(\d+)(?:_|$)', path.stem).groups())
    if is_anomaly(config):
        assert_anomaly_is_consistent(config, (height, width))
        return
    if not trains(config):
        assert_consistent_for_testing(config, (height, width))
        return
    if config.default_scope == 'mmdet':
        check_detection_config(config, (height, width))
        return
    if is_region(config):
        check_region_config(config, (height, width))
        return
    if is_mask_model(config):
        check_mask_config(config, (height, width))
        return
    if config.model.type == 'SPAR':
        check_any_size_config(config, (height, width))
        return
    assert tuple(config.model.data_preprocessor.size) == (height, width)
    crops = [tuple(p['crop_size']) for p in dicts(pipelines(config)) if p.get('type') == 'RandomCrop']
    assert set(crops) == {(height, width)}
    if config.model.test_cfg.mode == 'slide':
        assert tuple(config.model.test_cfg.crop_size) == (height, width)
    schedule_end = max(s['end'] for s in config.param_scheduler)
    assert schedule_end == config.train_cfg.max_iters
    if '_80k' in path.stem:
        assert config.train_cfg.max_iters == 80000 and config.auto_scale_lr.base_batch_size == 32
    for loader, classes in (
        (config.train_dataloader, training_classes(config)),
        (config.val_dataloader, num_classes(config)),
        (config.test_dataloader, num_classes(config)),
    ):
        steps = [step for step in dicts(loader.dataset) if 'type' in step]
        checked = {step['num_classes'] for step in steps if step['type'] == 'CheckLabelRange'}
        labelled = any(step['type'] in ('LoadAnnotations', 'LoadWideAnnotations') for step in steps)
        assert checked == ({classes} if labelled else set())


def check_any_size_config(config: Config, least: tuple[int, int]) -> None:
    """Pictures have whole patches and no less than the name says, windows fit into them, and the schedule ends."""
    parts = [step for step in dicts(config.train_dataloader.dataset) if step.get('type') == 'RandomPart']
    assert [(step['least'],) * 2 for step in parts] == [least]
    assert config.model.data_preprocessor.size_divisor == parts[0]['multiple']
    assert config.model.window < min(least) and config.model.window % parts[0]['multiple'] == 0
    assert max(s['end'] for s in config.param_scheduler) == config.train_cfg.max_iters
    checked = {p['num_classes'] for p in dicts(config.test_dataloader.dataset) if p.get('type') == 'CheckLabelRange'}
    assert checked == {num_classes(config)}
    assert config.test_dataloader == config.val_dataloader and config.test_evaluator == config.val_evaluator


def check_detection_config(config: Config, scale: tuple[int, int]) -> None:
    """Sizes, classes and schedule of a detector agree with each other; COCO's longer side comes first in a name."""
    resized = {tuple(p['scale']) for p in dicts(pipelines(config)) if p.get('type') == 'Resize'}
    assert resized == {scale}
    classes = {p['num_classes'] for p in dicts(config.model) if 'num_classes' in p}
    assert len(classes) == 1
    if 'vocabulary' in config.model:
        assert len(Vocabulary.of(config.model.vocabulary).groups) in classes
    epochs = {s['end'] for s in config.param_scheduler if s['by_epoch']}
    assert epochs == {config.train_cfg.max_epochs}
    gpus = 8 if '_fpn_1x' in config.filename else 1
    assert config.train_dataloader.batch_size * gpus == config.auto_scale_lr.base_batch_size
    for split in ('val', 'test'):
        loader = config[f'{split}_dataloader'].dataset
        assert config[f'{split}_evaluator'].ann_file == f'{loader.data_root}/{loader.ann_file}'


def check_mask_config(config: Config, size: tuple[int, int]) -> None:
    """The name says what pictures are tested at, longer side first; labels are those of each set's vocabulary."""
    pipeline = config.test_dataloader.dataset.pipeline
    resize = next(step for step in pipeline if step.type == 'PillowResizeShortSide')
    assert (resize.max_long_side, resize.short_side) == size
    assert config.test_dataloader == config.val_dataloader and config.test_evaluator == config.val_evaluator
    for loader, words in ((config.train_dataloader, 'train_vocabulary'), (config.test_dataloader, 'vocabulary')):
        ranges = {p['num_classes'] for p in dicts(loader.dataset) if p.get('type') == 'CheckLabelRange'}
        assert ranges <= {len(Vocabulary.of(config.model[words]))}
    assert max(s['end'] for s in config.param_scheduler) == config.train_cfg.max_iters
    gpus = 1 if 'miniworld' in config.filename else 8
    assert config.train_dataloader.batch_size * gpus == config.auto_scale_lr.base_batch_size


def check_region_config(config: Config, size: tuple[int, int]) -> None:
    """Squares are as the name says, labels and scores are of one vocabulary, and the schedule ends with the run."""
    assert (region_side(config),) * 2 == size
    assert config.model.vocabulary == config.val_dataloader.dataset.vocabulary
    assert max(s['end'] for s in config.param_scheduler) == config.train_cfg.max_iters
    gpus = 1 if 'miniworld' in config.filename else 4
    assert config.train_dataloader.batch_size * gpus == config.auto_scale_lr.base_batch_size


@pytest.fixture
def no_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building for counting needs no values in the tensors."""
    for name in dir(torch.nn.init):
        if name.endswith('_') and not name.startswith('_'):
            monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.mark.parametrize('entry', [e for e in ALL_ENTRIES if 'Parameters (M)' in e.values[0]['Metadata']])
def test_parameters_are_as_listed(entry: dict, no_initialisation: None) -> None:
    config = Config.fromfile(CONFIGS.parent / entry['Config'])
    forget_weights(config)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build(config.model)
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith('text_encoder.'))
    assert round(count / 1e6, 2) == entry['Metadata']['Parameters (M)']
