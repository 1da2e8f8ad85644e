"""Nodes of a cluster as processes of this machine, and what runs in them."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

_TRIES = 5


def environment(folder: Path) -> dict[str, str]:
    """What nodes and drivers share: a token of this cluster alone, one thread each, no statistics sent."""
    token = folder / 'token'
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    more = {'RAY_AUTH_MODE': 'token', 'RAY_AUTH_TOKEN_PATH': str(token), 'RAY_USAGE_STATS_ENABLED': '0'}
    threads = {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    root = str(Path(__file__).parents[2])
    return {**os.environ, **more, **threads, 'PYTHONPATH': root}


class Node:
    """A node.

    Args:
        folder: For its log, and the token.
        port: Of the head.
        head: Whether it is the head.
    """

    def __init__(self, folder: Path, port: int, head: bool) -> None:
        where = ['--head', f'--port={port}', '--include-dashboard=false'] if head else [f'--address=127.0.0.1:{port}']
        command = [sys.executable, '-m', 'ray.scripts.scripts', 'start', *where, '--num-cpus=1', '--block']
        command.append('--object-store-memory=100000000')
        name = 'head' if head else 'worker'
        for _ in range(_TRIES):  # a busy machine starts a node's agents more slowly than Ray waits
            with (folder / f'{name}.log').open('wb') as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(folder))
            if self._up(folder / f'{name}.log'):
                return
            self.kill()
        raise SystemExit(f'no {name} node starts: see {folder}/{name}.log')

    def _up(self, log: Path) -> bool:
        end = time.monotonic() + 90
        while time.monotonic() < end and self._process.poll() is None:
            if 'Ray runtime started' in log.read_text(errors='replace'):
                return True
            time.sleep(0.5)
        return False

    def processes(self, word: str) -> list[int]:
        """Processes of the node whose command lines hold a word."""
        return [pid for pid in _below(self._process.pid) if word in _command(pid)]

    def kill(self) -> None:
        """End all of it at once, as a machine ends that loses its power."""
        for pid in [self._process.pid, *_below(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def memory(pid: int) -> float:
    """Resident MB of a process, this one for 0; 0: there is none."""
    try:
        lines = Path(f'/proc/{pid or "self"}/status').read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith('VmRSS')), 0.0)


def _below(root: int) -> list[int]:
    """All processes that a process and its children have started."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(')')[2].split()[1])
    found, wanted = [], {root}
    while wanted:
        wanted = {pid for pid, parent in parents.items() if parent in wanted}
        found += sorted(wanted)
    return found


def _command(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
    except OSError:
        return ''
