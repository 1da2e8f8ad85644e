"""Ten steps equal five steps, stop, resume, five steps: bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import distributed
from two_processes import in_two_processes
from two_ranks import two_ranks

from denseclip.engine.config import OptionError
from denseclip.engine.hooks import TrainingStateHook
from denseclip.engine.launch import TrainOptions, train

_CLOCKS = ('time', 'data_time', 'eta')
_PER_RUN = ('cfg', 'experiment_name', 'last_ckpt', 'best_ckpt', 'memory')


@HOOKS.register_module()
class BatchRecorderHook(Hook):
    """Keep what each iteration was fed."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[str], torch.Tensor]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Store file names and pixels."""
        files = [Path(sample.img_path).name for sample in data_batch['data_samples']]
        self.seen.append((runner.iter, files, torch.stack([image.clone() for image in data_batch['inputs']])))


def recorder(runner: Runner) -> BatchRecorderHook:
    """The recorder of a finished run."""
    return next(hook for hook in runner.hooks if isinstance(hook, BatchRecorderHook))


def assert_same(a: Any, b: Any, where: str = '') -> None:
    """Compare nested containers of tensors and numbers bit for bit."""
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), f'{where}: tensors differ'
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), f'{where}: {a.keys() ^ b.keys()}'
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), f'{where}: {len(a)} != {len(b)}'
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f'{where}[{index}]')
    elif isinstance(a, HistoryBuffer):
        assert [part.tolist() for part in a.data] == [part.tolist() for part in b.data], (
            f'{where}: {a.data} != {b.data}'
        )
    else:
        assert a == b or (a != a and b != b), f'{where}: {a!r} != {b!r}'


def training_state(path: Path) -> dict[str, Any]:
    """A checkpoint without clocks and paths."""
    checkpoint = torch.load(path, weights_only=True)
    hub = checkpoint['message_hub']
    for key in [key for key in hub['log_scalars'] if key.rsplit('/', 1)[-1] in _CLOCKS]:
        del hub['log_scalars'][key]
    for key in [*_PER_RUN, *_CLOCKS]:
        hub['runtime_info'].pop(key, None)
    hub.pop('resumed_keys')
    meta = checkpoint.pop('meta')
    return {**checkpoint, 'epoch': meta['epoch'], 'iter': meta['iter'], 'seed': meta['seed']}


ITERATIONS: dict[str, Any] = {'custom_hooks': [dict(type='BatchRecorderHook'), dict(type='EMAHook', momentum=0.1)]}
EPOCHS: dict[str, Any] = {
    **ITERATIONS,
    'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=4, val_interval=2),
    'train_dataloader.sampler': dict(_delete_=True, type='DefaultSampler', shuffle=True),
    'default_hooks.checkpoint.by_epoch': True,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}


@pytest.mark.parametrize('workers', [0, 2])
def test_iterations_continue_bit_for_bit(train_toy, tmp_path: Path, workers: int) -> None:
    """Model, optimizer, EMA, schedules, message hub, data and augmentation, with and without worker processes."""
    overrides = {**ITERATIONS, 'train_dataloader.num_workers': workers}
    whole = train_toy(tmp_path / 'whole', **overrides)
    resumed = train_toy(tmp_path / 'resumed', resume=str(tmp_path / 'whole/iter_5.pth'), **overrides)
    assert [number for number, _, _ in recorder(resumed).seen] == [5, 6, 7, 8, 9]
    assert_same(recorder(resumed).seen, recorder(whole).seen[5:])
    assert_same(training_state(tmp_path / 'resumed/iter_10.pth'), training_state(tmp_path / 'whole/iter_10.pth'))


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_a_segmentor_continues_bit_for_bit(train_segmentor, tmp_path: Path, workers: int) -> None:
    """The same with an MMSegmentation model and pipeline."""
    overrides = {**ITERATIONS, 'train_dataloader.num_workers': workers}
    whole = train_segmentor(tmp_path / 'whole', **overrides)
    resumed = train_segmentor(tmp_path / 'resumed', resume=str(tmp_path / 'whole/iter_5.pth'), **overrides)
    assert_same(recorder(resumed).seen, recorder(whole).seen[5:])
    assert_same(training_state(tmp_path / 'resumed/iter_10.pth'), training_state(tmp_path / 'whole/iter_10.pth'))


def test_worker_count_does_not_change_the_data(train_toy, tmp_path: Path) -> None:
    """The same pictures, augmented alike, whoever loads them."""
    alone = recorder(train_toy(tmp_path / 'a', **ITERATIONS)).seen
    helped = recorder(train_toy(tmp_path / 'b', **ITERATIONS, **{'train_dataloader.num_workers': 3})).seen
    assert_same(alone, helped)
    assert not torch.equal(alone[0][2], alone[1][2])


@pytest.mark.parametrize('stop', ['epoch_2.pth', 'iter_5.pth', 'iter_6.pth'])
def test_epochs_continue_bit_for_bit(train_toy, tmp_path: Path, stop: str) -> None:
    """From an epoch's end, the middle of one (three batches each), and its last iteration."""
    overrides = dict(EPOCHS)
    if stop.startswith('iter'):
        overrides |= {'default_hooks.checkpoint.by_epoch': False}
    last = 'epoch_4.pth' if stop.startswith('epoch') else 'iter_12.pth'
    whole = train_toy(tmp_path / 'whole', **overrides)
    resumed = train_toy(tmp_path / 'resumed', resume=str(tmp_path / 'whole' / stop), **overrides)
    first = {'epoch_2.pth': 6, 'iter_5.pth': 5, 'iter_6.pth': 6}[stop]
    assert [number for number, _, _ in recorder(resumed).seen] == list(range(first, 12))
    assert_same(recorder(resumed).seen, recorder(whole).seen[first:])
    assert_same(training_state(tmp_path / 'resumed' / last), training_state(tmp_path / 'whole' / last))


def test_epochs_are_complete_after_a_resume_with_another_batch_size(train_toy, tmp_path: Path) -> None:
    """12 pictures: three batches an epoch, two from the third epoch on; a second resume knows where its epoch began."""
    other = {**EPOCHS, 'train_dataloader.batch_size': 6}
    train_toy(tmp_path / 'a', **EPOCHS)
    second = train_toy(tmp_path / 'b', resume=str(tmp_path / 'a/epoch_2.pth'), **other)
    assert [number for number, _, _ in recorder(second).seen] == [6, 7, 8, 9]
    third = train_toy(tmp_path / 'c', resume=str(tmp_path / 'b/epoch_3.pth'), **other)
    assert [number for number, _, _ in recorder(third).seen] == [8, 9]


def test_finite_sampler_in_an_iteration_loop(train_toy, tmp_path: Path) -> None:
    """Restarts of a finite sampler are part of the position, too: three batches an epoch, resumed in the second."""
    overrides = {**ITERATIONS, 'train_dataloader.sampler': dict(_delete_=True, type='DefaultSampler', shuffle=True)}
    whole = recorder(train_toy(tmp_path / 'whole', **overrides)).seen
    resumed = recorder(train_toy(tmp_path / 'resumed', resume=str(tmp_path / 'whole/iter_5.pth'), **overrides)).seen
    assert_same(resumed, whole[5:])
    assert sorted(sum((files for _, files, _ in whole[3:6]), [])) == sorted(
        sum((files for _, files, _ in whole[:3]), [])
    )
    assert [files for _, files, _ in whole[:3]] != [files for _, files, _ in whole[3:6]]


def test_a_drawn_seed_is_taken_over(train_toy, tmp_path: Path) -> None:
    """Without a configured seed, the resumed run continues with the one that the first run drew."""
    overrides = {**ITERATIONS, 'randomness.seed': None}
    whole = recorder(train_toy(tmp_path / 'whole', **overrides)).seen
    resumed = recorder(train_toy(tmp_path / 'resumed', resume=str(tmp_path / 'whole/iter_5.pth'), **overrides)).seen
    assert_same(resumed, whole[5:])


def test_validation_does_not_change_training(train_toy, tmp_path: Path) -> None:
    """How often a run is validated leaves its weights alone."""
    often = train_toy(tmp_path / 'often', **{'train_cfg.val_interval': 1})
    never = train_toy(tmp_path / 'never', **{'train_cfg.val_interval': 100})
    assert_same(often.model.state_dict(), never.model.state_dict())


@HOOKS.register_module()
class DieInValidationHook(Hook):
    """The power fails in the middle of the first validation."""

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Die."""
        raise KeyboardInterrupt


@pytest.mark.parametrize('by_epoch', [False, True])
def test_an_interrupted_validation_is_made_up_for(train_toy, tmp_path: Path, by_epoch: bool) -> None:
    """The checkpoint of that iteration is older than its validation; the resumed run validates first."""
    overrides = EPOCHS if by_epoch else ITERATIONS
    last = 'epoch_4.pth' if by_epoch else 'iter_10.pth'
    train_toy(tmp_path / 'whole', **overrides)
    hooks = [*overrides['custom_hooks'], dict(type='DieInValidationHook')]
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / 'cut', **{**overrides, 'custom_hooks': hooks})
    assert not list((tmp_path / 'cut').glob('best_*'))
    train_toy(tmp_path / 'cut', resume='auto', **overrides)
    assert_same(training_state(tmp_path / 'cut' / last), training_state(tmp_path / 'whole' / last))
    names = [sorted(path.name for path in (tmp_path / run).glob('*.pth')) for run in ('whole', 'cut')]
    assert names[0] == names[1]


def test_resume_auto_takes_the_last_checkpoint(train_toy, tmp_path: Path) -> None:
    """``--resume`` in the same work directory, and again when nothing is left to do."""
    train_toy(tmp_path, **{'train_cfg.max_iters': 5})
    resumed = train_toy(tmp_path, resume='auto', **ITERATIONS)
    assert [number for number, _, _ in recorder(resumed).seen] == [5, 6, 7, 8, 9]
    assert recorder(train_toy(tmp_path, resume='auto', **ITERATIONS)).seen == []


def both(config: Path, folder: Path) -> None:
    """In this process of two: a whole run, and one that resumes; batch norms are not synchronised."""
    for name, resume in (('whole', None), ('resumed', str(folder / 'whole/iter_5.pth'))):
        overrides = {**copy.deepcopy(TWO), 'experiment_name': name}
        options = TrainOptions(work_dir=str(folder / name), launcher='pytorch', overrides=overrides, resume=resume)
        runner = train(config, options)
        state = {key: value for key, value in runner.model.module.state_dict().items() if 'running' in key}
        torch.save(state, folder / f'{name}_{runner.rank}.pth')


TWO: dict[str, Any] = {'default_hooks.checkpoint.max_keep_ckpts': -1}


def test_a_checkpoint_between_two_steps_says_so(train_toy, tmp_path: Path) -> None:
    """Gradients that are being collected are in no checkpoint; at a multiple of the count there are none."""
    overrides = {'optim_wrapper.accumulative_counts': 2, 'train_cfg.max_iters': 4, 'train_cfg.val_interval': 100}
    for interval, said in ((3, True), (2, False)):
        runner = train_toy(tmp_path / f'{interval}', **overrides, **{'default_hooks.checkpoint.interval': interval})
        log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
        assert ('multiple of accumulative_counts' in log) is said


@pytest.mark.slow
def test_two_processes_continue_bit_for_bit(toy_config: Path, tmp_path: Path) -> None:
    """Also the batch norms that only the second process has, and with them the scores of validation."""
    in_two_processes(both, toy_config, tmp_path)
    states = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob('*.pth')}
    with pytest.raises(AssertionError):
        assert_same(states['whole_0'], states['whole_1'])
    assert_same(states['resumed_1'], states['whole_1'])
    assert_same(*(training_state(tmp_path / name / 'iter_10.pth') for name in ('resumed', 'whole')))


def test_other_process_count_is_said(train_toy, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A checkpoint of two processes resumes in one, with a warning instead of wrong random states."""
    train_toy(tmp_path / 'a', **{'train_cfg.max_iters': 5})
    path = tmp_path / 'a/iter_5.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['training_state']['rng'] *= 2
    torch.save(checkpoint, path)
    runner = train_toy(tmp_path / 'b', resume=str(path))
    assert 'was written by 2 process(es), this run has 1' in Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def _begin() -> str:
    """The second machine has no checkpoint."""
    rank = distributed.get_rank()
    runner: Any = SimpleNamespace(epoch=0, iter=0 if rank else 8)
    try:
        TrainingStateHook().before_train(runner)
    except OptionError as error:
        return str(error)
    return 'nothing was said'


def test_processes_that_begin_at_different_places_are_refused(tmp_path: Path) -> None:
    for said in two_ranks(_begin, tmp_path):
        assert 'process 0 at iteration 8, process 1 at iteration 0' in said and 'shared disk' in said
