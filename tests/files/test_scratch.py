"""Folders for the time of some work: gone after an error, a signal, a kill; nobody else's are touched."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denseclip.files.scratch import MARKER, ScratchFolder, exit_on_signals, sweep

fork = multiprocessing.get_context('fork')


def started(work: Callable[[], None], ready: Path) -> multiprocessing.process.BaseProcess:
    """A process that does some work, once it has said that it began."""
    process = fork.Process(target=work)
    process.start()
    for _ in range(1000):
        if ready.exists():
            return process
        time.sleep(0.01)
    raise AssertionError('the process did not start')


def hold(parent: Path, ready: Path) -> None:
    with exit_on_signals(), ScratchFolder(parent, '.x-') as scratch:
        (scratch.path / 'half').write_text('written')
        ready.touch()
        time.sleep(60)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith('.x-'))


def test_it_goes_with_the_work(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ScratchFolder(tmp_path / 'new', '.x-') as scratch:
        (scratch.path / 'deep').mkdir()
        assert scratch.path.parent == tmp_path / 'new'
        raise KeyboardInterrupt
    assert left(tmp_path / 'new') == []
    forgotten = ScratchFolder(tmp_path, '.x-')
    assert len(left(tmp_path)) == 1
    del forgotten
    gc.collect()
    assert left(tmp_path) == []


@pytest.fixture
def hang_up_ends() -> Iterator[None]:
    """Under nohup a hang-up is ignored, by children too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('hang_up_ends')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_terminate_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    process = started(lambda: hold(tmp_path, tmp_path / 'ready'), tmp_path / 'ready')
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == 128 + number and left(tmp_path) == []


def test_what_a_kill_leaves_goes_at_the_next_start(tmp_path: Path) -> None:
    process = started(lambda: hold(tmp_path, tmp_path / 'ready'), tmp_path / 'ready')
    sweep(tmp_path, '.x-')
    assert len(left(tmp_path)) == 1  # its owner lives
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert len(left(tmp_path)) == 1
    with ScratchFolder(tmp_path, '.x-') as mine:
        assert left(tmp_path) == [mine.path.name]


def test_only_what_we_made_is_swept(tmp_path: Path) -> None:
    mine = tmp_path / '.x-abcdefgh'
    mine.mkdir()
    (mine / MARKER).touch()
    foreign = tmp_path / '.x-foreign1'
    foreign.mkdir()
    (foreign / 'photo').touch()
    other = tmp_path / '.x-abcdefgh-more'
    other.mkdir()
    (other / MARKER).touch()
    (tmp_path / '.x-linktoit').symlink_to(other)
    (tmp_path / '.x-afile123').touch()
    sweep(tmp_path, '.x-')
    assert left(tmp_path) == ['.x-abcdefgh-more', '.x-afile123', '.x-foreign1', '.x-linktoit']
    assert (other / MARKER).exists()


def test_what_cannot_be_rescued_stays(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError

    kept = tmp_path / '.x-abcdefgh'
    kept.mkdir()
    (kept / MARKER).touch()
    sweep(tmp_path, '.x-', fail)
    assert left(tmp_path) == ['.x-abcdefgh']
    seen: list[Path] = []
    sweep(tmp_path, '.x-', seen.append)
    assert left(tmp_path) == [] and seen == [kept]
    sweep(tmp_path / 'absent', '.x-')


def test_a_sweeper_that_is_faster_than_the_lock_does_no_harm(tmp_path: Path) -> None:
    stop = threading.Event()

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path, '.x-')

    thread = threading.Thread(target=sweeping)
    thread.start()
    try:
        for _ in range(200):
            with ScratchFolder(tmp_path, '.x-') as scratch:
                (scratch.path / 'half').touch()
                assert (scratch.path / 'half').exists() and (scratch.path / MARKER).exists()
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures('hang_up_ends')
def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        own = signal.getsignal(signal.SIGTERM)
        with exit_on_signals():
            assert signal.getsignal(signal.SIGTERM) is own
            assert signal.getsignal(signal.SIGHUP) not in (signal.SIG_DFL, own)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    seen = []

    def inside() -> None:
        with exit_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
