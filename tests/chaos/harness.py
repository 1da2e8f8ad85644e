"""Run a real command, let a fault strike, look at what is left, run it again, and compare with an undisturbed run.

A command is forked from a process that has imported the packages already (``Start.FORK``), so that a row costs a
second, or is a fresh interpreter (``Start.FRESH``).
"""

from __future__ import annotations

import atexit
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import injection
from leftovers import differences, digests_of_files, names_below, tree, unfinished, visible

ROOT = Path(__file__).parents[2]
LIMIT = 300.0
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Command:
    """A command line, and what it makes.

    Attributes:
        name: For the table.
        line: Arguments after ``denseclip``; ``{world}`` is the folder of sources, ``{out}`` what it makes.
        digests: What must be equal after an undisturbed run and after a fault with a second start: a digest by name.
        env: Variables; ``{here}`` is the folder of the run.
        megabytes: Size of the disk that it gets.
    """

    name: str
    line: tuple[str, ...]
    digests: Callable[[Path], dict[str, str]] = digests_of_files
    env: tuple[tuple[str, str], ...] = ()
    megabytes: int = 64


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: For the table.
        kind: Of :class:`injection.Watch`, or empty where nothing strikes inside of the process.
        codes: Exit codes that are right then; a negative one is a signal. 0 where it may strike after the last byte:
            then what is there must be what an undisturbed run leaves.
        prepare: Called with the place before the command starts; what it returns is called before the second start.
        during: Whether it strikes at a write (``'write'``), at a time (``'time'``), or was there before (``''``).
        silent: Whether nothing is said, as a killed process says nothing.
        again: Exit codes of the second start.
        same: Whether the second start must leave what an undisturbed run leaves.
        says: Pattern that standard error must match.
    """

    name: str
    kind: str = ''
    codes: tuple[int, ...] = (0,)
    prepare: Callable[[Place], Callable[[], None] | None] | None = None
    during: str = 'write'
    silent: bool = False
    again: tuple[int, ...] = (0,)
    same: bool = True
    says: str = ''


@dataclass
class Place:
    """Folders of one run.

    Attributes:
        here: Everything of it.
        world: Sources, which nobody may change.
        full_cache: The cache of an undisturbed run.
    """

    here: Path
    world: Path
    full_cache: Path | None = None

    @property
    def disk(self) -> Path:
        """Where the small disk is mounted; what the command makes lies on it."""
        return self.here / 'disk'

    @property
    def out(self) -> Path:
        """What the command makes."""
        return self.disk / 'out'

    @property
    def temp(self) -> Path:
        """Its folder for temporary files."""
        return self.here / 'temp'

    @property
    def cache(self) -> Path:
        """Its cache."""
        return self.here / 'cache'


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        code: Exit code; minus the signal that killed it.
        seconds: How long it took.
        out: Standard output.
        err: Standard error.
        writes: What it wrote, in events of :class:`injection.Watch`.
    """

    code: int
    seconds: float
    out: str
    err: str
    writes: int


@dataclass
class Row:
    """What happened to a command under a fault."""

    command: str
    fault: str
    when: str
    ended: str
    left: str = 'whole files'
    again: str = ''
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not self.complaints


@contextmanager
def mounted(place: Path, megabytes: int) -> Iterator[bool]:
    """A small disk in memory; where nobody may mount one, a plain folder, and False."""
    place.mkdir(parents=True, exist_ok=True)
    command = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', str(place)]
    done = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(['umount', '-l', str(place)], check=True)


def run(
    command: Command,
    place: Place,
    plan: dict | None = None,
    *,
    kill_after: float = 0.0,
    fresh: bool = False,
    signal_number: int = signal.SIGKILL,
) -> Ended:
    """Run a command to its end.

    Args:
        command: What.
        place: Where.
        plan: Fault and moment of :class:`injection.Watch`.
        kill_after: Seconds after which a signal comes from outside; 0: never.
        fresh: A new interpreter instead of a fork of this one.
        signal_number: That signal.
    """
    for folder in (place.disk, place.temp, place.cache):
        folder.mkdir(parents=True, exist_ok=True)
    logs = [place.here / name for name in ('stdout', 'stderr', 'writes')]
    plan = {
        'folder': str(place.disk),
        'disk': str(place.disk),
        'fault': '',
        'moment': 0,
        'report': str(logs[2]),
        **(plan or {}),
    }
    slots = {'world': str(place.world), 'out': str(place.out), 'here': str(place.here)}
    line = [part.format(**slots) for part in command.line]
    env = {name: value.format(**slots) for name, value in command.env}
    # files say when they were written, and equal runs at two times shall be equal
    env = {'DENSECLIP_CACHE': str(place.cache), 'TMPDIR': str(place.temp), 'SOURCE_DATE_EPOCH': '86400', **env}
    start = time.monotonic()
    begin = _fresh if fresh else _fork
    process = begin(line, plan, env, place, logs)
    timers = []
    if kill_after:
        timers.append(threading.Timer(kill_after, _signal, (process, signal_number)))
    timers.append(threading.Timer(LIMIT, _signal, (process, signal.SIGKILL)))
    for timer in timers:
        timer.start()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    seconds = time.monotonic() - start
    for timer in timers:
        timer.cancel()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)  # what outlived it
    texts = [path.read_text(errors='replace') for path in logs]
    return Ended(code, seconds, texts[0], texts[1], int(texts[2] or 0))


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _fresh(line: list[str], plan: dict, env: dict[str, str], place: Place, logs: list[Path]) -> int:
    with logs[0].open('w') as out, logs[1].open('w') as err:
        process = subprocess.Popen(
            [sys.executable, str(Path(injection.__file__)), json.dumps(plan), *line],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=place.here,
            env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    return process.pid


def _fork(line: list[str], plan: dict, env: dict[str, str], place: Place, logs: list[Path]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of shells ignore it
        os.chdir(place.here)
        for number, path in enumerate(('/dev/null', logs[0], logs[1])):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0))
            os.dup2(handle, number)
        sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', closefd=False)  # noqa: SIM115
        os.environ.update(env)
        import tempfile

        tempfile.tempdir = None
        atexit._clear()
        injection.install(plan)
        code = _main(line)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            _finalize()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _finalize() -> None:
    """What weakref.finalize registered before the fork is gone with ``atexit``: run it."""
    import weakref

    weakref.finalize._exitfunc()


def _main(line: list[str]) -> int:
    from denseclip.cli.main import main

    try:
        code = main(line)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else 0 if code is None else 1


def moment(fault: Fault, writes: int, seed: int) -> int:
    """A random write of an undisturbed run."""
    return random.Random(f'{fault.name} {seed}').randint(1, max(writes, 1)) if fault.during == 'write' else 0


def spoken(ended: Ended, codes: tuple[int, ...]) -> list[str]:
    """What is wrong with how a run ended and what it said."""
    found = []
    if ended.code not in codes:
        found.append(f'exit code {ended.code}, not {" or ".join(map(str, codes))}: {ended.err.strip()[-400:]}')
    if 'Traceback' in ended.err:
        found.append(f'a traceback: {ended.err.strip().splitlines()[-1]}')
    if ended.code == 2 and 'error: ' not in ended.err:
        found.append('no sentence that says why')
    if 'unexpected ' in ended.err and '--debug shows where' in ended.err:
        found.append(f'an unforeseen error: {ended.err.strip()[-300:]}')
    return found


def disturb(
    command: Command, fault: Fault, undisturbed: Undisturbed, here: Path, *, seed: int = 0, fresh: bool = False
) -> Row:
    """One row of the table.

    Args:
        command: What runs.
        fault: What goes wrong.
        undisturbed: Its run without a fault.
        here: New folder for the run.
        seed: Of the moment.
        fresh: New interpreters instead of forks.
    """
    place = Place(here, undisturbed.world, undisturbed.cache)
    row = Row(command.name, fault.name, 'before the start', '')
    if here.exists():
        shutil.rmtree(here)
    here.mkdir(parents=True)
    needs_disk = fault.kind in ('full', 'readonly')
    with mounted(place.disk, command.megabytes) as is_mounted:
        if needs_disk and not is_mounted:
            row.ended = row.left = row.again = 'not run: nobody may mount a disk here'
            return row
        undo = fault.prepare(place) if fault.prepare else None
        at = moment(fault, undisturbed.writes, seed)
        after = undisturbed.seconds * random.Random(f'{command.name} {seed}').uniform(0.05, 0.95)
        if fault.during == 'write':
            row.when = f'write {at} of {undisturbed.writes}'
        elif fault.during == 'time':
            row.when = f'{after:.1f} of {undisturbed.seconds:.1f} s'
        from_outside = after if fault.during == 'time' else 0.0
        plan = {'fault': '' if from_outside else fault.kind, 'moment': at}
        number = injection.SIGNALS.get(fault.kind, signal.SIGKILL)
        first = run(command, place, plan, kill_after=from_outside, fresh=fresh, signal_number=number)
        row.ended = ending(first)
        codes = (*fault.codes, 0) if from_outside else fault.codes  # a late signal may find it done
        row.complaints += [f'first: {text}' for text in spoken(first, codes)]
        if not first.code:
            lacks = differences(undisturbed.digests, command.digests(place.out))
            row.complaints += [f'done, it says, but {text}' for text in lacks]
        if first.code and fault.says and not re.search(fault.says, first.err + first.out):
            row.complaints.append(f'first: does not say {fault.says}: {first.err.strip()[-300:]}')
        bad = [f'{name}: {why}' for name in names_below(place.out) if (why := visible(place.out / name))]
        row.complaints += [f'half a file: {text}' for text in bad]
        row.left = f'{len(names_below(place.out))} files, all whole' if not bad else f'{len(bad)} broken files'
        if needs_disk:
            injection.remount(place.disk, read_only=False)
            (place.disk / injection.BALLAST).unlink(missing_ok=True)
        if undo is not None:
            undo()
        second = run(command, place, fresh=fresh)
        row.complaints += [f'again: {text}' for text in spoken(second, fault.again)]
        row.again = ending(second)
        if fault.same:
            row.complaints += differences(undisturbed.digests, command.digests(place.out))
            row.again += ', equal'
        leftovers = unfinished(place.disk) + names_below(place.temp)
        row.complaints += [f'left behind: {name}' for name in leftovers]
        if tree(undisturbed.world) != undisturbed.sources:
            row.complaints.append('the sources were changed')
    return row


def ending(ended: Ended) -> str:
    """How a run ended, in a few words."""
    if ended.code < 0:
        return signal.Signals(-ended.code).name
    said = [line for line in ended.err.splitlines() if 'error: ' in line]
    return f'{ended.code}' + (f': {said[-1].partition("error: ")[2]}' if said and ended.code else '')


@dataclass
class Undisturbed:
    """A command's run without a fault.

    Attributes:
        world: Its sources.
        sources: Their digests.
        digests: Of what it made.
        writes: What it wrote, in events.
        seconds: How long it took.
        cache: What it left in its cache.
    """

    world: Path
    sources: dict[str, str]
    digests: dict[str, str]
    writes: int
    seconds: float
    cache: Path


def undisturbed(command: Command, here: Path, world: Path, *, fresh: bool = False) -> Undisturbed:
    """Run a command without a fault.

    Raises:
        RuntimeError: If it fails, or leaves something behind.
    """
    sources = tree(world)
    place = Place(here, world)
    here.mkdir(parents=True)
    with mounted(place.disk, command.megabytes):
        ended = run(command, place, fresh=fresh)
        complaints = spoken(ended, (0,)) + unfinished(place.disk) + names_below(place.temp)
        if complaints:
            raise RuntimeError(f'{command.name} without a fault: {complaints} {ended.err[-2000:]} {ended.out[-2000:]}')
        digests = command.digests(place.out)
    if not digests:
        raise RuntimeError(f'{command.name} makes nothing to compare: {ended.out[-2000:]}')
    if tree(world) != sources:
        raise RuntimeError(f'{command.name} changes its sources')
    return Undisturbed(world, sources, digests, ended.writes, ended.seconds, place.cache)
