"""Run the rows and write the table; see the package."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.core.precision import PRECISIONS
from studies.peers.rows import ROWS, Row
from studies.peers.table import Further, Result, agreement, heading

ROOT = Path(__file__).parents[2]
TEMPLATE = 'a photo of a {}.'
LISTS = {21: 'voc21', 150: 'ade20k', 171: 'coco_stuff'}


class Side:
    """A child process that holds one model.

    Attributes:
        extra: Bytes that the first run needed above the loaded model.
    """

    def __init__(self, interpreter: str, request: dict[str, Any], log: Path) -> None:
        settings = {**os.environ, 'PYTHONPATH': str(ROOT)}
        settings.update(dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1'))
        self.log = log
        with log.open('w') as errors:
            self.process = subprocess.Popen(
                [interpreter, '-W', 'ignore', '-m', 'studies.peers.child'],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=settings,
            )
        self.send(json.dumps(request))
        self.extra = int(self.answer()['extra'])

    def send(self, line: str) -> None:
        """Write a line to the child."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next line.

        Raises:
            RuntimeError: If it has died; with its last words.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            words = self.log.read_text(errors='replace')[-2000:].strip()
            raise RuntimeError(words or f'its process ended with {code}; -9 where memory ran out')
        return json.loads(line)

    def run(self) -> float:
        """CPU seconds of one run."""
        self.send('run')
        return float(self.answer()['cpu'])

    def end(self) -> None:
        """Let it go."""
        if self.process.poll() is None:
            self.send('end')
            self.process.wait()


def request_of(row: Row, names: list[str], args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What every side of a row is told; writes the picture.

    Args:
        row: The row.
        names: Its words.
        args: The options.
        folder: For the picture, and what the sides leave for each other.
    """
    generator = np.random.default_rng(0)
    coarse = generator.random((1, 3, row.size[0] // 16, row.size[1] // 16), dtype=np.float32)
    pixels = coarse.repeat(16, axis=2).repeat(16, axis=3) * 0.8 + generator.random((1, 3, *row.size)) * 0.2
    np.save(folder / 'picture.npy', pixels.astype(np.float32))
    return dict(
        threads=args.threads,
        family=row.family,
        preset=row.preset,
        window=row.window,
        pamr='PAMR' in row.note,
        names=names,
        template=TEMPLATE,
        picture=str(folder / 'picture.npy'),
        size=row.size,
        out=[int(side * row.enlarged) for side in row.size],
        scratch=str(folder),
    )


def start(row: Row, name: str, request: dict[str, Any], args: argparse.Namespace, folder: Path) -> Side:
    """A side: ``'theirs'``, or the suite's in the precision of that name.

    Raises:
        RuntimeError: If it fails.
    """
    is_theirs = name == 'theirs'
    folders = [str(path.resolve()) for path in row.folders(args.peers)]
    half = 'theirs' if is_theirs else 'ours'
    module, function = (row.module, half) if row.module else (half, 'build')
    own = dict(
        checkout=folders[0] if folders else '',
        path=[*folders, *args.peer_path] if is_theirs else [],
        module=f'studies.peers.{module}',
        function=function,
        precision='fp32' if is_theirs else name,
        labels=str(folder / f'{name}.npy'),
    )
    return Side(args.interpreter if is_theirs else sys.executable, {**request, **own}, folder / f'{name}.log')


def compare(
    row: Row, classes: int, args: argparse.Namespace, folder: Path, weights: dict[str, str]
) -> tuple[Result, bool]:
    """Run the sides of a row in turn: theirs, ours, and ours in each further precision.

    Returns:
        What it gave, and whether a further precision failed or was refused, which is said on standard error.

    Raises:
        RuntimeError: If one of the two sides in float32 fails.
    """
    from denseclip.clip.vocabulary import Vocabulary

    names = list(Vocabulary.named(LISTS[classes]).names) if classes else []
    request = {**request_of(row, names, args, folder), 'weights': weights}
    wanted = further_precisions(args)
    sides: dict[str, Side] = {}
    refused = False
    try:
        for name in ('theirs', 'fp32', *(wanted if row.has_precisions else [])):
            try:
                sides[name] = start(row, name, request, args, folder)
            except RuntimeError as error:
                if name not in wanted:
                    raise
                refused = True
                print(f'{row.name}, K = {classes}, {name}: {str(error).splitlines()[-1]}', file=sys.stderr)
        runs: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.repeats):
            for name, child in sides.items():
                runs[name].append(child.run())
    finally:
        for child in sides.values():
            child.end()
    answers = {name: np.load(folder / f'{name}.npy') for name in sides}
    equal = {name: agreement(answers['theirs'], answers[name]) for name in sides}
    further = tuple(Further(tuple(runs[name]), equal[name]) if name in sides else None for name in wanted)
    extra = (sides['theirs'].extra, sides['fp32'].extra)
    return Result(row, classes, tuple(runs['theirs']), tuple(runs['fp32']), extra, equal['fp32'], further), refused


def further_precisions(args: argparse.Namespace) -> list[str]:
    """Those asked for beside float32, each once, in the order of the command."""
    return [name for name in dict.fromkeys(args.precision) if name != 'fp32']


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(prog='python -m studies.peers', description=__doc__)
    parser.add_argument('peers', type=Path, help='folder with the checkouts')
    parser.add_argument('--rows', nargs='+', choices=[row.name for row in ROWS], help='all by default')
    parser.add_argument('--classes', nargs='+', type=int, default=[21, 171], choices=sorted(LISTS))
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=PRECISIONS,
        default=['fp32'],
        help="also run the suite's side in these, as its own --precision does; float32 is always there",
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--interpreter', default=sys.executable, help='Python of the peers')
    parser.add_argument('--peer-path', default=[], nargs='+', metavar='DIR', help='further packages')
    parser.add_argument('--weights', type=Path, help='folder for the random weights; kept there')
    parser.add_argument('--out', type=Path, help='write the table here, too')
    parser.add_argument('--list', action='store_true', help='say what there is to run')
    args = parser.parse_args(argv)
    rows = [row for row in ROWS if args.rows is None or row.name in args.rows]
    if args.list:
        for row in rows:
            print(listed(row, args))
        return 0
    return run_rows(rows, args)


def missing(row: Row, args: argparse.Namespace) -> list[str]:
    """What of a row's peer is not there."""
    if row.is_package and not any((Path(folder) / row.folder).is_dir() for folder in args.peer_path):
        there = args.interpreter != sys.executable or importlib.util.find_spec(row.folder) is not None
        return [] if there else [f'the package {row.folder}']
    return [str(folder) for folder in row.folders(args.peers) if not folder.is_dir()]


def listed(row: Row, args: argparse.Namespace) -> str:
    """A line that says what a row needs and whether it is there."""
    places = [] if row.is_package else [f'github.com/{row.repository} at {row.commit} as {row.folder}']
    places += [f'{row.folder}=={row.commit} of PyPI'] if row.is_package else []
    places += [f'github.com/{name} as {name.rpartition("/")[2]}' for name in row.beside]
    lacking = missing(row, args)
    needs = f'; needs {row.needs}' if row.needs else ''
    return f'{row.name}: {", ".join(places)} ({"not there" if lacking else "there"}){needs}'


def run_rows(rows: list[Row], args: argparse.Namespace) -> int:
    """Run rows, print each line as it comes; 1 if one failed, or a precision of it."""
    from studies.peers.weights import write_weights

    failed, lines, head = False, [], heading(further_precisions(args))
    with tempfile.TemporaryDirectory() as scratch:
        weights = write_weights(args.weights or Path(scratch) / 'weights')
        print(head, flush=True)
        for row in rows:
            if lacking := missing(row, args):
                print(f'{row.name}: {", ".join(lacking)} is not there; see --list', file=sys.stderr)
                continue
            for classes in args.classes if row.classes is None else [row.classes]:
                try:
                    result, refused = compare(row, classes, args, Path(scratch), weights)
                except RuntimeError as error:
                    failed = True
                    print(f'{row.name}, K = {classes}: {error}', file=sys.stderr)
                    continue
                failed |= refused
                lines.append(result.line())
                print(lines[-1], flush=True)
    if args.out is not None:
        args.out.write_text('\n'.join([head, *lines]) + '\n', encoding='utf-8')
    return int(failed)


if __name__ == '__main__':
    raise SystemExit(main())
