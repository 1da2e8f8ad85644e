"""What happens to a command in its own process: an audit hook counts what it writes, and lets a fault strike there.

The hook sees every file that Python opens for writing, and every name that it makes, changes or removes, below one
folder. A fault at the 7th of them strikes at the same place in every run; the errors that follow (no space left,
read-only file system) are the kernel's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

_NAMES = {'os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.link', 'os.symlink', 'os.truncate'}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_READ_ONLY, _REMOUNT = 1, 32  # of mount(2)
BALLAST = 'ballast'
"""File beside the watched folder that takes all room of its disk."""
SIGNALS = {'kill': signal.SIGKILL, 'term': signal.SIGTERM, 'interrupt': signal.SIGINT}
SLOW = 0.05
"""Seconds that a slow disk takes for each thing that is asked of it."""
JUMP = -400 * 86400.0
"""Seconds by which the clock jumps: more than a year back."""


class Watch:
    """Counts what the process writes below a folder, and strikes once.

    Args:
        folder: The folder.
        disk: Where its file system is mounted.
        fault: ``kill``, ``term``, ``interrupt``, ``full``, ``readonly``, ``slow``, ``clock``, ``worker``, or nothing.
        moment: At which write, counted from 1; 0: never.
        report: File for the number of writes; written anew at each.
    """

    def __init__(self, folder: Path, disk: Path, fault: str, moment: int, report: Path) -> None:
        self.folder, self.disk, self.fault, self.moment = str(folder), disk, fault, moment
        self.process, self.count, self.done = os.getpid(), 0, not moment
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._busy, self._lock = threading.local(), threading.RLock()

    def __call__(self, event: str, args: tuple) -> None:
        """Look at one event of the interpreter."""
        if os.getpid() != self.process or getattr(self._busy, 'now', False) or not self._counts(event, args):
            return
        self._busy.now = True
        try:
            with self._lock:
                self.count += 1
                os.pwrite(self._report, f'{self.count:9d}'.encode(), 0)
                due = self.count >= self.moment and not self.done
            if self.fault == 'slow':
                time.sleep(SLOW)
            elif due:
                self.done = self.strike()
        finally:
            self._busy.now = False

    def _counts(self, event: str, args: tuple) -> bool:
        if event == 'open':
            path, mode, flags = args
            writes = any(letter in mode for letter in 'wax+') if isinstance(mode, str) else bool(flags & _WRITES)
            return writes and self._inside(path)
        return event in _NAMES and any(self._inside(path) for path in args[: 2 if event == 'os.rename' else 1])

    def _inside(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        name = os.path.join(os.getcwd(), os.fsdecode(path))
        return name.startswith(self.folder)

    def strike(self) -> bool:
        """Let it happen; False where it could not happen yet."""
        if self.fault in SIGNALS:
            os.kill(os.getpid(), SIGNALS[self.fault])
        elif self.fault == 'full':
            fill(self.disk)
        elif self.fault == 'readonly':
            return remount(self.disk, read_only=True)
        elif self.fault == 'clock':
            real = time.time
            time.time = lambda: real() + JUMP
        elif self.fault == 'worker':
            return _kill_child()
        return True


def fill(disk: Path) -> None:
    """Take all room of a disk."""
    handle = os.open(disk / BALLAST, os.O_WRONLY | os.O_CREAT)
    block = bytes(1 << 16)
    try:
        while len(block):
            try:
                os.write(handle, block)
            except OSError:
                block = block[: len(block) // 2]
    finally:
        os.close(handle)


def remount(disk: Path, *, read_only: bool) -> bool:
    """Make a mounted disk read-only, or writable again; False while files on it are open for writing."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _REMOUNT | (_READ_ONLY if read_only else 0)
    return libc.mount(b'none', os.fsencode(disk), None, flags, None) == 0


def _kill_child() -> bool:
    """Kill a process that this one has started, such as one that loads data."""
    own = str(os.getpid())
    for place in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError, IndexError):
            if place.joinpath('stat').read_text().rpartition(')')[2].split()[1] == own:
                os.kill(int(place.name), signal.SIGKILL)
                return True
    return False


def install(plan: dict) -> None:
    """Watch this process from now on.

    Args:
        plan: The arguments of :class:`Watch`; with ``sign``, the fault strikes when that file appears.
    """
    watch = Watch(Path(plan['folder']), Path(plan['disk']), plan['fault'], plan['moment'], Path(plan['report']))
    sys.addaudithook(watch)
    if 'sign' in plan and plan['fault']:
        threading.Thread(target=_strike_at, args=(watch, Path(plan['sign'])), daemon=True).start()


def _strike_at(watch: Watch, sign: Path) -> None:
    while not sign.exists():
        time.sleep(0.05)
    watch.strike()


def main() -> int:
    """Run a command of the suite under watch: ``python injection.py PLAN_AS_JSON COMMAND...``."""
    install(json.loads(sys.argv[1]))
    sys.argv = ['denseclip', *sys.argv[2:]]
    from denseclip.cli.main import main as denseclip

    return denseclip()


if __name__ == '__main__':
    sys.exit(main())
