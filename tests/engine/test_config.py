"""From files and options to a Runner's config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from denseclip.compat.amp import amp_wrapper_type
from denseclip.engine.config import (
    OptionError,
    empty_folder,
    fit_workers,
    load_config,
    set_work_dir,
    use_amp,
    use_suite_hooks,
    use_tta,
)


def plain(**changes: Any) -> Config:
    """The parts of an MMSegmentation config that matter here."""
    content: dict[str, Any] = {
        'model': dict(type='EncoderDecoder'),
        'train_cfg': dict(type='IterBasedTrainLoop', max_iters=10, val_interval=5),
        'optim_wrapper': dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        'default_hooks': dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        'test_dataloader': dict(dataset=dict(pipeline=['plain'])),
        **changes,
    }
    return Config(content)


def test_a_missing_config_is_named_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / 'real.py').touch()
    with pytest.raises(OptionError, match=r"reel\.py' does not exist; that folder holds .*real\.py"):
        load_config(tmp_path / 'reel.py')


def test_the_guards_are_added_to_an_mmseg_config() -> None:
    config = plain()
    use_suite_hooks(config)
    assert config.train_cfg.type == 'ResumableIterTrainLoop'
    assert config.default_hooks.checkpoint == dict(type='SafeCheckpointHook', by_epoch=False, interval=3)
    assert {config.default_hooks[name].type for name in ('training_state', 'vocabulary_check', 'non_finite_loss')} == {
        'TrainingStateHook',
        'VocabularyCheckHook',
        'NonFiniteLossHook',
    }
    before = config.to_dict()
    use_suite_hooks(config)
    assert config.to_dict() == before


@pytest.mark.parametrize('by_epoch', [True, False])
def test_old_style_loops_and_missing_hooks_get_defaults(by_epoch: bool) -> None:
    length = dict(max_epochs=4, val_interval=2) if by_epoch else dict(max_iters=40, val_interval=20)
    config = plain(train_cfg=dict(by_epoch=by_epoch, **length), default_hooks=dict())
    use_suite_hooks(config)
    assert config.train_cfg.type == ('ResumableEpochTrainLoop' if by_epoch else 'ResumableIterTrainLoop')
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval) == (by_epoch, length['val_interval'])


def test_the_users_choice_stands() -> None:
    config = plain(
        train_cfg=dict(type='mmengine.IterBasedTrainLoop', max_iters=10),
        default_hooks=dict(checkpoint=dict(type='mmengine.CheckpointHook'), non_finite_loss=None),
        custom_hooks=[dict(type='VocabularyCheckHook')],
    )
    use_suite_hooks(config)
    assert config.train_cfg.type == 'mmengine.IterBasedTrainLoop'
    assert config.default_hooks.checkpoint.type == 'mmengine.CheckpointHook'
    assert 'non_finite_loss' not in config.default_hooks and 'vocabulary_check' not in config.default_hooks


def test_amp_on_request_and_as_configured() -> None:
    config = plain()
    use_amp(config, wanted=False)
    assert config.optim_wrapper.type == 'OptimWrapper'
    configured = plain(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'))
    for changed in (config, configured):
        use_amp(changed, wanted=changed is config)
        assert changed.optim_wrapper.type == amp_wrapper_type()


def test_amp_does_not_replace_a_special_wrapper() -> None:
    with pytest.raises(OptionError, match="'MyWrapper'"):
        use_amp(plain(optim_wrapper=dict(type='MyWrapper')), wanted=True)


def test_tta_wraps_the_model_and_reaches_the_innermost_dataset() -> None:
    inner = dict(type='RepeatDataset', dataset=dict(pipeline=['plain']))
    config = plain(tta_model=dict(type='SegTTAModel'), tta_pipeline=['tta'], test_dataloader=dict(dataset=inner))
    use_tta(config)
    assert config.model.type == 'SegTTAModel' and config.model.module.type == 'EncoderDecoder'
    assert config.test_dataloader.dataset.dataset.pipeline == ['tta']
    both = dict(type='ConcatDataset', datasets=[dict(pipeline=['plain']), dict(dataset=dict(pipeline=['plain']))])
    config = plain(tta_model=dict(type='SegTTAModel'), tta_pipeline=['tta'], test_dataloader=dict(dataset=both))
    use_tta(config)
    first, second = config.test_dataloader.dataset.datasets
    assert first.pipeline == second.dataset.pipeline == ['tta'] and 'pipeline' not in config.test_dataloader.dataset
    with pytest.raises(OptionError, match='tta_model'):
        use_tta(plain())


def test_work_dirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set_work_dir(plain(), None, 'configs/a_b.py') == Path('work_dirs/a_b')
    assert set_work_dir(plain(work_dir='mine'), None, 'a.py') == Path('mine')
    assert set_work_dir(plain(work_dir='mine'), tmp_path / 'told', 'a.py') == tmp_path / 'told'
    assert list((tmp_path / 'told').iterdir()) == []
    (tmp_path / 'file').touch()
    with pytest.raises(OptionError, match=r"cannot write to the work directory '.*file/below'"):
        set_work_dir(plain(), tmp_path / 'file/below', 'a.py')


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    assert empty_folder(tmp_path / 'new', '--out', force=False).is_dir()
    (tmp_path / 'new/old.png').touch()
    with pytest.raises(OptionError, match=r"--out '.*new' holds earlier results.*--force"):
        empty_folder(tmp_path / 'new', '--out', force=False)
    assert empty_folder(tmp_path / 'new', '--out', force=True)
    with pytest.raises(OptionError, match='is a file'):
        empty_folder(tmp_path / 'new/old.png', '--out', force=True)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('import sys\nsys.exit(0)', r'it ends the program \(SystemExit 0\)'),
        ("model = 'EncoderDecoder'", r"model must be dict\(\.\.\.\), not 'EncoderDecoder'"),
        ('model = dict(backbone=dict())', 'model has no type; it has backbone'),
        ('train_dataloader = 3', 'train_dataloader must be dict'),
        ("val_dataloader = dict(dataset='CamVid')", 'val_dataloader.dataset must be dict'),
        (
            'test_dataloader = dict(batch_size=0)',
            'test_dataloader.batch_size must be a whole number of at least 1, not 0',
        ),
        ('test_dataloader = dict(num_workers=-1)', 'num_workers must be a whole number of at least 0'),
        ("custom_hooks = ['MyHook']", 'custom_hooks must be a list of dict'),
        ("test_evaluator = 'IoU'", 'test_evaluator must be dict'),
        ("log_level = 'LOUD'", "log_level 'LOUD' is unknown"),
    ],
)
def test_a_config_that_no_run_can_take_is_refused_when_it_is_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / 'config.py').write_text(text)
    with pytest.raises(OptionError, match=words):
        load_config(tmp_path / 'config.py')


def test_every_config_of_the_suite_is_of_the_right_shape() -> None:
    """What is refused is nothing that is in use; parts of configs are read, too."""
    configs = sorted((Path(__file__).parents[2] / 'configs').rglob('*.py'))
    assert len(configs) > 100
    for path in configs[:: len(configs) // 12]:
        load_config(path)


def test_an_override_that_has_no_place_is_named_alone(tmp_path: Path) -> None:
    (tmp_path / 'config.py').write_text('train_cfg = dict(max_iters=3)\nsteps = [dict(end=3)]\n')
    good = {'train_cfg.max_iters': 5, 'new_key.a': 1}
    assert load_config(tmp_path / 'config.py', good).train_cfg.max_iters == 5
    with pytest.raises(OptionError, match=r'^--cfg-options steps\.4\.end: '):
        load_config(tmp_path / 'config.py', {**good, 'steps.4.end': 3})
    with pytest.raises(OptionError, match="no 'trian_cfg'; did you mean 'train_cfg'"):
        load_config(tmp_path / 'config.py', {'trian_cfg.max_iters': 5})


def test_loaders_without_processes_lose_what_needs_them() -> None:
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=2)
    config = Config(dict(train_dataloader=loader, val_dataloader={**loader, 'num_workers': 2}))
    fit_workers(config)
    assert config.train_dataloader == dict(num_workers=0)
    assert config.val_dataloader.persistent_workers is True


def test_full_precision_on_request() -> None:
    settings = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', clip_grad=dict(max_norm=1.0))
    config = plain(optim_wrapper=settings)
    use_amp(config, wanted=False, precision='fp32')
    assert config.optim_wrapper == dict(type='OptimWrapper', clip_grad=dict(max_norm=1.0))
    special = plain(optim_wrapper=dict(type='MyWrapper', dtype='float16'))
    use_amp(special, wanted=False, precision='fp32')
    assert special.optim_wrapper == dict(type='MyWrapper', dtype='float16')
    with pytest.raises(OptionError, match='leave one of them out'):
        use_amp(config, wanted=True, precision='fp32')
