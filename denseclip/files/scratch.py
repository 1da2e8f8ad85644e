"""Folders for the time of some work: removed when it ends, however it ends.

An error, Ctrl-C and a request to terminate remove them at once. What ``kill -9`` or a power cut leaves behind goes at
the next start: every folder is locked by the process that made it, and the system gives the lock back when it dies.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from denseclip.files.locks import lock_folder

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

MARKER = '.made-by-denseclip'
"""File in folders that this program made; only those are ever removed."""
_RANDOM = r'[a-z0-9_]{8}'  # what mkdtemp appends


class Terminated(SystemExit):
    """The process was asked to end; ``code`` is 128 + the signal's number, as shells tell it."""


class ScratchFolder:
    """A new folder that nobody else uses, gone after :meth:`close`, at the end of the process, or after a kill.

    Args:
        parent: Where to make it; made if need be.
        prefix: Of its name. Folders of this prefix that dead processes left behind are removed first.

    Attributes:
        path: The folder.

    Raises:
        OSError: If it cannot be made.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        sweep(parent, prefix)
        parent.mkdir(parents=True, exist_ok=True)
        self.path, lock = _make(parent, prefix)
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Remove the folder; a second time does nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()


def sweep(parent: Path, prefix: str, rescue: Callable[[Path], None] | None = None) -> None:
    """Remove the scratch folders of dead processes.

    Args:
        parent: Where they were made.
        prefix: Of their names.
        rescue: Called with each before it is removed.
    """
    name = re.compile(re.escape(prefix) + _RANDOM, re.DOTALL)
    try:
        found = [Path(entry.path) for entry in os.scandir(parent) if name.fullmatch(entry.name)]
    except OSError:  # no such folder yet, or not ours to look into
        return
    for folder in found:
        lock = _lock_of_the_dead(folder)
        if lock is None:
            continue
        try:
            if rescue is not None:
                rescue(folder)
        except OSError:  # what is in there is worth more than the room
            os.close(lock)
            continue
        _remove(folder, lock, os.getpid())


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let requests to terminate end the program as an exception does, so that what cleans up is run.

    In the main thread and where nobody else handles them; elsewhere nothing changes.
    """
    mine = []
    if threading.current_thread() is threading.main_thread():
        wanted = [getattr(signal, name) for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name)]
        mine = [number for number in wanted if signal.getsignal(number) == signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not stop the cleaning
    raise Terminated(128 + number)


def _make(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """A locked folder with the marker in it; where a sweeper was faster than the lock, another one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = lock_folder(folder)
            (folder / MARKER).touch()
        except (BlockingIOError, FileNotFoundError):
            continue
        return folder, lock


def _lock_of_the_dead(folder: Path) -> int | None:
    """The lock of a folder that we made, that is this user's, and whose process has ended; None for others."""
    try:
        lock = lock_folder(folder)
        names = {path.name for path in folder.iterdir()}
    except OSError:
        return None
    if lock is None:
        return None
    if os.fstat(lock).st_uid == os.geteuid() and (MARKER in names or not names):
        return lock
    os.close(lock)
    return None


def _remove(folder: Path, lock: int | None, process: int) -> None:
    if os.getpid() != process:  # a forked child inherits the finalizer
        return
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
