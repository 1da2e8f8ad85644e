"""Bad inputs for every command, tool and function: ``python tests/fuzz/bad_inputs.py`` (ten minutes, not a test).

Each must be refused by one line that says what is wrong (or by an exception of ours), without a traceback, without an
exit code of 0, without a change of anything beside its own folder, and without unfinished files. Prints a table by
command and every case that failed; the exit code is 1 if any did.

    python tests/fuzz/bad_inputs.py --only train.py   # cases whose command or label contains this
    python tests/fuzz/bad_inputs.py --processes 20    # 20 of the commands as programs of their own, too
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests/helpers'), str(Path(__file__).parent)]
importlib.import_module('denseclip')  # makes mmseg and mmdet importable

import torch  # noqa: E402
from bad_calls import api  # noqa: E402
from bad_cases import Case, Names, counted  # noqa: E402
from bad_commands import anomaly, detect, miniworld, new_dataset, segment  # noqa: E402
from bad_layouts import combinations, layouts  # noqa: E402
from bad_tools import audit, converters, studies, test, train, weights  # noqa: E402
from bad_world import build_world  # noqa: E402
from mmengine.logging import MessageHub, MMLogger  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from mmengine.visualization import Visualizer  # noqa: E402

PARTS = (segment, detect, anomaly, new_dataset, miniworld, train, test, audit, weights, converters, studies, api)
SECONDS = 150
UNFINISHED = re.compile(r'\.partial$|\.tmp$|^\..*\.(new|made)-|^\.tmp')
FAULTS = ('traceback', 'unforeseen', 'exit 0', 'other exit code', 'no line', 'changed files', 'leftovers', 'too slow')


@dataclass
class Outcome:
    """What a case did.

    Attributes:
        case: The case.
        code: Exit code, or the exception of a call; None for success of a call.
        text: What it said.
        faults: Words of :data:`FAULTS`.
        seconds: How long it took.
    """

    case: Case
    code: object
    text: str
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


class TooSlowError(BaseException):
    """A case did not end in time."""


def run_case(case: Case, world: Path, before: dict[str, str]) -> Outcome:
    """Run one case in a folder of its own and judge it."""
    place = Path(tempfile.mkdtemp(prefix='case-', dir=world.parent))
    os.chdir(place)
    forget()
    started = time.perf_counter()
    outcome = call(case, world) if callable(case.run) else command(case, world, in_process)
    outcome.seconds = time.perf_counter() - started
    outcome.faults += look_around(case, world, place, before, refused=outcome.code not in (0, None))
    os.chdir(world.parent)
    shutil.rmtree(place, ignore_errors=True)
    return outcome


def command(case: Case, world: Path, run: Callable[[list[str], str], tuple[object, str]]) -> Outcome:
    """Run a command line and judge what it says."""
    assert not callable(case.run)
    arguments = [part.replace('{w}', str(world)) for part in case.run]
    code, text = run(arguments, case.group)
    outcome = Outcome(case, code, text)
    if code == 'too slow':
        outcome.faults.append('too slow')
        return outcome
    if not isinstance(code, int) or 'Traceback (most recent call last)' in text:
        outcome.faults.append('traceback')
        return outcome
    if code == 0:
        outcome.faults += ['exit 0'] if case.refuse else []
        return outcome
    if ': error: unexpected ' in text:
        outcome.faults.append('unforeseen')
    if code != case.code:
        outcome.faults.append('other exit code')
    said = text if case.code == 1 or case.group == 'denseclip new-dataset' else re.findall(r'error: .{8,}', text)
    if not said:
        outcome.faults.append('no line')
    return outcome


def call(case: Case, world: Path) -> Outcome:
    """Call a function and judge what it raises."""
    assert callable(case.run)
    try:
        with in_time(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            case.run(world)
    except TooSlowError:
        return Outcome(case, 'too slow', '', ['too slow'])
    except BaseException as error:
        ours = type(error).__module__.startswith('denseclip.')
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        said = isinstance(error, ValueError | TypeError | OSError | ImportError) and last.startswith(
            str(ROOT / 'denseclip')
        )
        text = f'{type(error).__name__}: {error}'
        return Outcome(case, error, text, [] if (ours or said) and str(error) else ['traceback'])
    return Outcome(case, None, '', ['exit 0'] if case.refuse else [])


def in_process(arguments: list[str], group: str) -> tuple[object, str]:
    """Exit code (or what escaped) and output of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: object
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with in_time():
                code = main_of(group)(arguments)
        except SystemExit as done:
            code = done.code if done.code is not None else 0
        except TooSlowError:
            code = 'too slow'
        except BaseException as error:
            code = f'{type(error).__name__}: {error}'
            traceback.print_exc(file=err)
    return code, out.getvalue() + err.getvalue()


def as_program(arguments: list[str], group: str) -> tuple[object, str]:
    """The same, in a process of its own."""
    start = ['-m', 'denseclip'] if group.startswith('denseclip ') else [str(ROOT / group)]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *start, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


LOADED: dict[str, ModuleType] = {}


def main_of(group: str) -> Callable[[list[str]], int]:
    """The main function of a command or tool."""
    if group.startswith('denseclip '):
        return importlib.import_module('denseclip.cli.main').main
    if group not in LOADED:
        spec = importlib.util.spec_from_file_location(f'tool_{Path(group).stem}', ROOT / group)
        assert spec is not None and spec.loader is not None
        LOADED[group] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(LOADED[group])
    return LOADED[group].main


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Raise :class:`TooSlowError` after :data:`SECONDS`."""

    def late(*_: object) -> None:
        raise TooSlowError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def forget() -> None:
    """What MMEngine keeps from run to run within a process."""
    for kind in (DefaultScope, MMLogger, MessageHub, Visualizer):
        kind._instance_dict.clear()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def look_around(case: Case, world: Path, place: Path, before: dict[str, str], *, refused: bool) -> list[str]:
    """Files that were changed, or that should not have been left."""
    faults = []
    if snapshot(world) != before or [p.name for p in world.parent.iterdir() if p not in (world, place)]:
        faults.append('changed files')
    made = list(place.rglob('*'))
    target = place / case.target if case.target else None
    if (
        target is not None
        and refused
        and target.exists()
        and (target.is_file() or any(target.rglob('*')))
        or any(UNFINISHED.search(path.name) for path in made)
    ):
        faults.append('leftovers')
    return faults


def snapshot(folder: Path) -> dict[str, str]:
    """Names, sizes and times of all files."""
    found = {}
    for path in sorted(folder.rglob('*')):
        info = path.lstat()
        found[str(path)] = f'{info.st_mode} {info.st_size} {info.st_mtime_ns if not path.is_dir() else ""}'
    return found


def report(outcomes: list[Outcome]) -> None:
    """A table by command, and every case that failed."""
    groups = list(dict.fromkeys(outcome.case.group for outcome in outcomes))
    print(f'\n| command | cases | {" | ".join(FAULTS)} |\n| --- |' + ' ---: |' * (len(FAULTS) + 1))
    for group in [*groups, 'all']:
        mine = [outcome for outcome in outcomes if group in ('all', outcome.case.group)]
        counts = Counter(fault for outcome in mine for fault in set(outcome.faults))
        print(f'| {group} | {len(mine)} | ' + ' | '.join(str(counts[fault]) for fault in FAULTS) + ' |')
    for outcome in outcomes:
        if outcome.faults:
            said = [line for line in outcome.text.splitlines() if line.strip()][-1:] or ['']
            print(f'\n{outcome.case.group}: {outcome.case.label}: {", ".join(outcome.faults)}')
            print(f'    {str(outcome.code)[:200]!r}: {said[0][:400]}')


def main() -> int:
    """Run the cases; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='cases whose command or label contains this')
    parser.add_argument('--processes', type=int, default=0, help='so many commands as programs of their own, too')
    parser.add_argument('--verbose', action='store_true', help='what every case said')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix='bad-inputs-'))
    os.environ['DENSECLIP_CACHE'] = str(home / 'cache')
    world = home / 'world'
    try:
        build_world(world)
        before, names = snapshot(world), Names.of(world)
        cases = counted(
            case for found in (*(part(names) for part in PARTS), layouts(), combinations()) for case in found
        )
        cases = [case for case in cases if args.only in f'{case.group}: {case.label}']
        outcomes = []
        for number, case in enumerate(cases, start=1):
            outcomes.append(run_case(case, world, before))
            if args.verbose or outcomes[-1].faults:
                said = ' '.join(outcomes[-1].text.split())[-300:]
                print(f'[{number}/{len(cases)}] {case.group}: {case.label}: {outcomes[-1].faults} {said}', flush=True)
        commands = [case for case in cases if not callable(case.run)]
        for case in random.Random(0).sample(commands, min(args.processes, len(commands))):
            os.chdir(home)
            outcomes.append(command(case, world, as_program))
    finally:
        os.chdir(ROOT)
        shutil.rmtree(home, ignore_errors=True)
    report(outcomes)
    print(f'\n{len(outcomes)} cases, {sum(outcome.seconds for outcome in outcomes):.0f} s')
    return int(any(outcome.faults for outcome in outcomes))


if __name__ == '__main__':
    sys.exit(main())
