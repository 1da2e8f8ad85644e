"""Whenever a saving process dies, a complete earlier checkpoint is left, and ``last_checkpoint`` points to it."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.logging import MessageHub
from mmengine.runner import save_checkpoint

from denseclip.engine.hooks import SafeCheckpointHook
from denseclip.files.atomic import PARTIAL_SUFFIX


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it and clean up."""


class FakeRunner:
    """Just what the hook uses of a Runner; its checkpoints hold the message hub, as real ones do."""

    _names = (f'fake{number}' for number in itertools.count())

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = str(work_dir)
        self.logger = logging.getLogger('test')
        self.message_hub = MessageHub.get_instance(next(self._names))
        self.epoch, self.iter, self.max_iters = 0, 0, 100
        self.rank, self.world_size = 0, 1
        self.gathered: list[str] = []

    def call_hook(self, name: str, **kwargs: Any) -> None:
        """Note the announcement to gather random states."""
        self.gathered.append(f'{name}:{kwargs["stage"]}')

    def save_checkpoint(self, out_dir: str, filename: str, meta: dict[str, Any], **_: Any) -> None:
        """Write as MMEngine does: in place."""
        content = {
            'meta': meta,
            'state_dict': {'w': torch.full((1000,), float(meta['iter']))},
            'message_hub': self.message_hub.state_dict(),
        }
        save_checkpoint(content, str(Path(out_dir) / filename))


def save_steps(work_dir: Path, steps: int, resume_at: int = 0, hub: dict[str, Any] | None = None) -> FakeRunner:
    """Save after each step, and validate with a score that improves every second time."""
    hook = SafeCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=2, save_best='acc', rule='greater')
    runner = FakeRunner(work_dir)
    if hub is not None:
        runner.message_hub.load_state_dict(hub)
    hook.before_train(runner)

    def validate(step: int) -> None:
        runner.iter = step
        runner.message_hub.update_info('last_validation', step)
        hook.after_val_epoch(runner, metrics={'acc': float(step // 2)})

    if resume_at and runner.message_hub.get_info('last_validation') != resume_at:
        validate(resume_at)  # as the resumable loops do
    for step in range(resume_at, steps):
        runner.iter = step
        hook.after_train_iter(runner, batch_idx=step)
        validate(step + 1)
    return runner


def read_last(work_dir: Path) -> dict[str, Any] | None:
    """Open the checkpoint that a resume would open, and the best one that it knows; fail if either is broken."""
    pointer = work_dir / 'last_checkpoint'
    if not pointer.exists():
        return None
    checkpoint = torch.load(pointer.read_text(), weights_only=True)
    assert checkpoint['state_dict']['w'].unique().tolist() == [checkpoint['meta']['iter']]
    best = checkpoint['message_hub']['runtime_info'].get('best_ckpt')
    assert best is None or 'state_dict' in torch.load(best, weights_only=True)
    return checkpoint


@pytest.fixture
def die_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Die in the middle of the n-th change to the disk; returns the log of changes."""

    def arm(number: int) -> list[str]:
        done: list[str] = []

        def guard(name: str, half: Callable[..., None] | None, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if len(done) == number:
                    if half:
                        half(*args)
                    raise Killed(name)
                done.append(name)
                return original(*args, **kwargs)

            return call

        def half_file(_: Any, content: bytes, path: str) -> None:
            Path(path).write_bytes(content[: len(content) // 2])

        def half_text(path: Path, text: str, **_: Any) -> None:
            path.write_bytes(text.encode()[: len(text) // 2])

        monkeypatch.setattr(LocalBackend, 'put', guard('put', half_file, LocalBackend.put))
        monkeypatch.setattr(Path, 'write_text', guard('write_text', half_text, Path.write_text))
        monkeypatch.setattr(os, 'fsync', guard('fsync', None, lambda handle: None))  # slow, and no power is cut here
        monkeypatch.setattr(Path, 'replace', guard('replace', None, Path.replace))
        monkeypatch.setattr(Path, 'unlink', guard('unlink', None, Path.unlink))
        return done

    return arm


def test_death_at_every_change_of_the_disk(die_at, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step through all of them: each leaves a loadable state that is at most one save old, and the rest can be done."""
    changes = die_at(-1)
    save_steps(tmp_path / 'whole', 4)
    monkeypatch.undo()
    assert {'put', 'write_text', 'fsync', 'replace', 'unlink'} == set(changes)
    expected = sorted(path.name for path in (tmp_path / 'whole').iterdir())
    for number in range(len(changes)):
        work_dir = tmp_path / str(number)
        log = die_at(number)
        with pytest.raises(Killed):
            save_steps(work_dir, 4)
        monkeypatch.undo()
        checkpoint = read_last(work_dir)
        if checkpoint is None:
            assert number < changes.index('write_text') + 3, f'no checkpoint after {log}'
            save_steps(work_dir, 4)
        else:
            save_steps(work_dir, 4, checkpoint['meta']['iter'], checkpoint['message_hub'])
        finished = read_last(work_dir)
        assert finished is not None and finished['meta']['iter'] == 4
        left = {path.name for path in work_dir.iterdir()}
        assert not [name for name in left if name.endswith(PARTIAL_SUFFIX)]
        assert set(expected) == left, f'killed at change {number}: {sorted(left)}'


def test_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    """File names and numbers are those of MMEngine's hook."""
    runner = save_steps(tmp_path, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'best_acc_iter_4.pth',
        'iter_4.pth',
        'iter_5.pth',
        'last_checkpoint',
    ]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_5.pth')
    assert runner.message_hub.get_info('keep_ckpt_ids') == [4, 5]
    assert set(runner.gathered) == {'before_checkpoint:iter'}


def test_leftovers_of_a_dead_run_are_removed(tmp_path: Path) -> None:
    """Half-written files do not pile up."""
    (tmp_path / f'.iter_9.pth{PARTIAL_SUFFIX}').write_bytes(b'half')
    save_steps(tmp_path, 1)
    assert not list(tmp_path.glob(f'.*{PARTIAL_SUFFIX}'))


def test_unknown_metric_is_named(tmp_path: Path) -> None:
    """A typing error in ``save_best`` says what there is."""
    hook = SafeCheckpointHook(interval=1, by_epoch=False, save_best='mIou', rule='greater')
    runner = FakeRunner(tmp_path)
    hook.before_train(runner)
    with pytest.raises(KeyError, match=r"save_best='mIou' is not among the validation metrics \(mIoU, aAcc\)"):
        hook.after_val_epoch(runner, metrics={'mIoU': 1.0, 'aAcc': 1.0})


def test_several_best_metrics(tmp_path: Path) -> None:
    """Each metric has its own best file, replaced independently."""
    hook = SafeCheckpointHook(interval=10, by_epoch=False, save_best=['a', 'loss'], rule=['greater', 'less'])
    runner = FakeRunner(tmp_path)
    hook.before_train(runner)
    for step, metrics in enumerate([{'a': 1.0, 'loss': 1.0}, {'a': 2.0, 'loss': 2.0}], start=1):
        runner.iter = step
        hook.after_val_epoch(runner, metrics=metrics)
    assert sorted(path.name for path in tmp_path.glob('best_*')) == ['best_a_iter_2.pth', 'best_loss_iter_1.pth']


def test_remote_folders_are_refused() -> None:
    """Renaming is what makes a file appear at once; object stores have no such thing."""
    hook = SafeCheckpointHook(interval=1, out_dir='s3://bucket/run')
    runner = SimpleNamespace(work_dir='work', logger=logging.getLogger('test'), message_hub=None)
    with pytest.raises((ValueError, ImportError)):
        hook.before_train(runner)


def _train_and_die(
    train: Callable[..., Any], work_dir: Path, saves: int, delay: float, overrides: dict[str, Any]
) -> None:
    """Continue the run; after so many renamed files, SIGKILL strikes whatever is being done ``delay`` seconds later."""
    torch.set_num_threads(1)  # the parent's pool of threads does not exist in a forked child, which would wait for it
    rename, renamed = Path.replace, itertools.count(1)

    def counting(*args: Any) -> Any:
        result = rename(*args)
        if next(renamed) == saves:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return result

    Path.replace = counting  # type: ignore[method-assign]
    train(work_dir, 'auto', **overrides)
    os._exit(0)


@pytest.mark.slow
def test_sigkill_at_random_moments(train_toy, tmp_path: Path) -> None:
    """A run killed -9 again and again while it saves all the time ends exactly like one that was left alone."""
    overrides = {'train_cfg.max_iters': 30, 'train_cfg.val_interval': 7, 'default_hooks.checkpoint.interval': 1}
    moments, fork = random.Random(0), multiprocessing.get_context('fork')
    undisturbed = fork.Process(target=_train_and_die, args=(train_toy, tmp_path / 'whole', -1, 0.0, overrides))
    undisturbed.start()
    undisturbed.join()
    assert undisturbed.exitcode == 0
    kills, reached = 0, []
    for _ in range(40):
        moment = (moments.randint(2, 14), moments.uniform(0, 0.03))
        child = fork.Process(target=_train_and_die, args=(train_toy, tmp_path / 'killed', *moment, overrides))
        child.start()
        child.join()
        pointer = tmp_path / 'killed/last_checkpoint'
        reached.append(torch.load(pointer.read_text(), weights_only=True)['meta']['iter'])
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
    assert child.exitcode == 0 and kills >= 3, f'{kills} kills, reached {reached}'
    assert reached == sorted(reached)
    weights = [
        torch.load(tmp_path / name / 'iter_30.pth', weights_only=True)['state_dict'] for name in ('whole', 'killed')
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_copied_run_leaves_the_original_alone(tmp_path: Path) -> None:
    """Resumed in a copy of the work directory, whose checkpoints name the files of the original."""
    save_steps(tmp_path / 'original', 4)
    before = sorted(path.name for path in (tmp_path / 'original').iterdir())
    shutil.copytree(tmp_path / 'original', tmp_path / 'copy')
    checkpoint = torch.load(tmp_path / 'copy/iter_4.pth', weights_only=True)
    save_steps(tmp_path / 'copy', 6, 4, checkpoint['message_hub'])
    assert sorted(path.name for path in (tmp_path / 'original').iterdir()) == before
    assert [path.name for path in (tmp_path / 'copy').glob('best_*')] == ['best_acc_iter_6.pth']
