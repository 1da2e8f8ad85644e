"""Faults on purpose: ``python tests/chaos/run.py`` (``make chaos``) prints a table of faults, commands and outcomes.

Every row is a real command that something happens to; then it is started again, and must leave what an undisturbed run
leaves. Exit code 1 if anything was lost. A full and a read-only disk need root, which may mount one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('OMP_NUM_THREADS', '1')

import serving  # noqa: E402
from commands import BY_NAME, build_world, import_everything  # noqa: E402
from harness import ROOT, Fault, Place, Row, Undisturbed, disturb, run, undisturbed  # noqa: E402
from rows import TABLE  # noqa: E402


def main() -> int:
    """Run the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--commands', nargs='+', metavar='NAME', choices=[*BY_NAME, 'serve'], default=[*BY_NAME, 'serve']
    )
    parser.add_argument('--fault', nargs='+', default=[''], metavar='TEXT', help='only faults whose name holds one')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--fresh', action='store_true', help='a new interpreter for each command: ten times as long')
    parser.add_argument('--keep', metavar='DIR', help='work there, and leave what is there')
    args = parser.parse_args()
    os.chdir(ROOT)
    root = Path(args.keep).resolve() if args.keep else Path(tempfile.mkdtemp(prefix='chaos-'))
    import_everything()
    try:
        rows = list(_rows(args, root))
    finally:
        if not args.keep:
            shutil.rmtree(root, ignore_errors=True)
    bad = [row for row in rows if not row.good]
    print(f'\n{len(rows)} rows, {len(bad)} with complaints')
    for row in bad:
        print(f'\n{row.command}, {row.fault}, {row.when}: {row.ended}')
        print('\n'.join(f'  {text}' for text in row.complaints))
    return int(bool(bad))


def _rows(args: argparse.Namespace, root: Path):
    wanted = [(name, fault) for name, fault in TABLE if name in args.commands and _is_asked(fault, args.fault)]
    world = root / 'world'
    if not world.exists():
        build_world(world)
        _train_once(root, world)
    known: dict[str, Undisturbed] = {}
    print('| command | what happens | when | it ends with | on the disk | started again |')
    print('|---|---|---|---|---|---|', flush=True)
    for number, (name, fault) in enumerate(wanted):
        start = time.monotonic()
        command = BY_NAME[name]
        try:
            if name not in known:
                here = root / f'undisturbed {name}'
                shutil.rmtree(here, ignore_errors=True)
                known[name] = undisturbed(command, here, world, fresh=args.fresh)
            row = disturb(command, fault, known[name], root / f'row{number}', seed=args.seed, fresh=args.fresh)
        except RuntimeError as error:
            row = Row(name, fault.name, '', 'not run', complaints=[str(error)])
        if row.good and not args.keep:
            shutil.rmtree(root / f'row{number}', ignore_errors=True)
        print(_line(row, root), flush=True)
        said = '; '.join([f'{time.monotonic() - start:.0f} s', *row.complaints])
        print(f'{number + 1} of {len(wanted)}: {said}', file=sys.stderr, flush=True)
        yield row
    if 'serve' in args.commands and '' in args.fault:
        for row in serving.rows(root, world):
            print(_line(row, root), flush=True)
            yield row


def _is_asked(fault: Fault, texts: list[str]) -> bool:
    return any(text in fault.name for text in texts)


def _line(row: Row, root: Path) -> str:
    cells = (row.command, row.fault, row.when, row.ended, row.left, row.again if row.good else '**BAD** ' + row.again)
    line = '| ' + ' | '.join(cell.replace('|', '/').replace('\n', ' ') for cell in cells) + ' |'
    line = re.sub(rf'{re.escape(str(root))}/row\d+/disk(?!/)', 'the disk', line)
    return re.sub(rf'{re.escape(str(root))}/(row\d+/)?(disk/)?', '', line)


def _train_once(root: Path, world: Path) -> None:
    """A checkpoint for the commands that read one."""
    place = Place(root / 'first', world)
    ended = run(BY_NAME['train'], place)
    if ended.code:
        raise RuntimeError(ended.err)
    shutil.copy(place.out / 'iter_6.pth', world / 'toy.pth')
    shutil.rmtree(place.here)


if __name__ == '__main__':
    sys.exit(main())
