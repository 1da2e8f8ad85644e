"""Run the rows and write the table; see the package."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from studies.peers.rows import ROWS, Row

ROOT = Path(__file__).parents[2]
TEMPLATE = 'a photo of a {}.'
LISTS = {21: 'voc21', 150: 'ade20k', 171: 'coco_stuff'}


@dataclass(frozen=True)
class Result:
    """What a row gave.

    Attributes:
        row: The row.
        classes: Number of words.
        theirs: CPU seconds of the peer's runs.
        ours: CPU seconds of the suite's.
        extra: Bytes above the loaded model, the peer's and the suite's.
        equal: Share of equal answers, 0..1; see :func:`agreement`.
    """

    row: Row
    classes: int
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    extra: tuple[int, int]
    equal: float

    def line(self) -> str:
        """A line of the table."""
        times = [median(values) for values in (self.theirs, self.ours)]
        memory = ' / '.join(f'{value / 2**20:.0f}' for value in self.extra)
        cells = [
            f'{self.row.name} ({self.row.source})',
            f'{self.row.shape}{", " + self.row.note if self.row.note else ""}',
            str(self.classes) if self.classes else '',
            f'{times[0]:.2f} / {times[1]:.2f}',
            f'{times[0] / times[1]:.2f}',
            memory,
            'one label alone' if math.isnan(self.equal) else f'{100 * self.equal:.2f} %',
        ]
        return f'| {" | ".join(cells)} |'


HEADING = (
    '| Peer | Input | K | CPU s, theirs / ours | Ratio | MB above the model, theirs / ours | Equal |\n'
    '| --- | --- | ---: | ---: | ---: | ---: | ---: |'
)


def agreement(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Share of answers that are equal: labels alike, values within a thousandth of the range of theirs.

    A single value, as of a loss, is held against its own size. Not a number where theirs are all one label: that both
    sides say so is no evidence.

    Raises:
        RuntimeError: If the shapes differ.
    """
    if theirs.shape != ours.shape:
        raise RuntimeError(f'theirs has the shape {theirs.shape}, ours {ours.shape}')
    if theirs.size > 1 and theirs.min() == theirs.max():
        return math.nan
    if theirs.dtype.kind in 'iu':
        return float((theirs == ours).mean())
    span = theirs.max() - theirs.min() if theirs.size > 1 else abs(theirs).max()
    return float((np.abs(theirs - ours) <= 1e-3 * span).mean())


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
            self.process.wait()
            raise RuntimeError(self.log.read_text(errors='replace')[-2000:])
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


def compare(row: Row, classes: int, args: argparse.Namespace, folder: Path, weights: dict[str, str]) -> Result:
    """Run both sides of a row in turn.

    Raises:
        RuntimeError: If a side fails.
    """
    from denseclip.clip.vocabulary import Vocabulary

    names = list(Vocabulary.named(LISTS[classes]).names) if classes else []
    generator = np.random.default_rng(0)
    coarse = generator.random((1, 3, row.size[0] // 16, row.size[1] // 16), dtype=np.float32)
    pixels = coarse.repeat(16, axis=2).repeat(16, axis=3) * 0.8 + generator.random((1, 3, *row.size)) * 0.2
    np.save(folder / 'picture.npy', pixels.astype(np.float32))
    folders = [str(path.resolve()) for path in row.folders(args.peers)]
    out = [int(side * row.enlarged) for side in row.size]
    request: dict[str, Any] = dict(
        threads=args.threads,
        family=row.family,
        preset=row.preset,
        window=row.window,
        pamr='PAMR' in row.note,
        names=names,
        template=TEMPLATE,
        picture=str(folder / 'picture.npy'),
        size=row.size,
        out=out,
        weights=weights,
        checkout=folders[0] if folders else '',
        scratch=str(folder),
    )
    sides = {}
    try:
        for side, path, interpreter in (
            ('theirs', [*folders, *args.peer_path], args.interpreter),
            ('ours', [], sys.executable),
        ):
            module, function = (row.module, side) if row.module else (side, 'build')
            own = dict(path=path, module=f'studies.peers.{module}', function=function)
            sides[side] = Side(
                interpreter, {**request, **own, 'labels': str(folder / f'{side}.npy')}, folder / f'{side}.log'
            )
        runs: dict[str, list[float]] = {'theirs': [], 'ours': []}
        for _ in range(args.repeats):
            for side in ('theirs', 'ours'):
                runs[side].append(sides[side].run())
    finally:
        for child in sides.values():
            child.end()
    labels = [np.load(folder / f'{side}.npy') for side in ('theirs', 'ours')]
    equal = agreement(*labels)
    extra = (sides['theirs'].extra, sides['ours'].extra)
    return Result(row, classes, tuple(runs['theirs']), tuple(runs['ours']), extra, equal)


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(prog='python -m studies.peers', description=__doc__)
    parser.add_argument('peers', type=Path, help='folder with the checkouts')
    parser.add_argument('--rows', nargs='+', choices=[row.name for row in ROWS], help='all by default')
    parser.add_argument('--classes', nargs='+', type=int, default=[21, 171], choices=sorted(LISTS))
    parser.add_argument('--repeats', type=int, default=3)
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
    """Run rows, print each line as it comes; 1 if one failed."""
    from studies.peers.weights import write_weights

    failed, lines = False, []
    with tempfile.TemporaryDirectory() as scratch:
        weights = write_weights(args.weights or Path(scratch) / 'weights')
        print(HEADING, flush=True)
        for row in rows:
            if lacking := missing(row, args):
                print(f'{row.name}: {", ".join(lacking)} is not there; see --list', file=sys.stderr)
                continue
            for classes in args.classes if row.classes is None else [row.classes]:
                try:
                    lines.append(compare(row, classes, args, Path(scratch), weights).line())
                except RuntimeError as error:
                    failed = True
                    print(f'{row.name}, K = {classes}: {error}', file=sys.stderr)
                    continue
                print(lines[-1], flush=True)
    if args.out is not None:
        args.out.write_text('\n'.join([HEADING, *lines]) + '\n', encoding='utf-8')
    return int(failed)


if __name__ == '__main__':
    raise SystemExit(main())
