"""Models with bundled weights in every format of an export beside PyTorch: what differs, size, time, memory.

    python -m studies.runtime_comparison.formats street.jpg --out exports
    python -m studies.runtime_comparison.formats street.jpg --out exports --models bundled

Exports that lie in the folder already are taken as they are. Networks run on one thread and in turn (A B C A B C);
each peak of memory is that of a process of its own that opens a model and labels one picture.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from denseclip.apis.inferencer import Inferencer
from denseclip.export import export
from denseclip.export.errors import ExportError
from denseclip.export.formats import FORMATS
from denseclip.files.shipped import here_or_shipped
from denseclip.runtime import load
from denseclip.runtime.manifest import FILE

WORDS = 'sky; building; road; tree; car; pedestrian'
SIZES = ((360, 480), (321, 401), (97, 131), (200, 90), (33, 257), (240, 320), (1, 1))
_CLIP = 'local-dir:' + str(here_or_shipped('checkpoints/miniworld_clip'))
_RUN = """
import time
{code}
peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(time.process_time(), int(peak) / 1024)
"""


def main() -> int:
    """Print a row for every model and format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('picture', type=Path, help='a photograph')
    parser.add_argument('--out', type=Path, required=True, help='folder of the exports')
    parser.add_argument('--models', nargs='+', default=['bundled', 'maskclip', 'sclip', 'naclip'])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--to', nargs='+', choices=tuple(FORMATS), default=list(FORMATS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with Image.open(args.picture) as picture:
        pixels = np.asarray(picture.convert('RGB').resize(SIZES[0][::-1]))
    print('| model | format | pixels that differ | MB | CPU ms | CPU s to the first result | peak MB |')
    print('|---|---|---:|---:|---:|---:|---:|')
    for name in args.models:
        for row in rows(name, args.out, args.picture, pixels, args.rounds, args.to):
            print('| ' + ' | '.join(row) + ' |', flush=True)
    return 0


def rows(
    name: str, out: Path, picture: Path, pixels: np.ndarray, rounds: int, formats: Sequence[str] = tuple(FORMATS)
) -> list[tuple[str, ...]]:
    """Rows of a model: PyTorch and the formats."""
    model = loaded(name)
    folders, refused = {}, []
    for to in formats:
        folder = out / f'{name}-{to}'
        try:
            if not (folder / FILE).is_file():
                export(model, folder, to, own_words=name == 'bundled')
            folders[to] = folder
        except ExportError as error:
            refused.append(('', to, f'no: {" ".join(str(error).split()):.100}', '', '', '', ''))
    runtimes = {to: load(folder, threads=1, trust=True) for to, folder in folders.items()}
    work: dict[str, Callable[[], Any]] = {'PyTorch': lambda: model.segment(pixels, WORDS, scores=False)}
    for to, runtime in runtimes.items():
        work[to] = partial(runtime.segment, pixels, WORDS, scores=False)
    took = in_turn(work, rounds)
    found = [('PyTorch', '0', '', took['PyTorch'], first(torch_code(name, picture)))]
    for to, runtime in runtimes.items():
        size = sum(file.stat().st_size for file in folders[to].glob('image.*')) / 1e6
        call = f'load({str(folders[to])!r}, threads=1, trust=True).segment({str(picture)!r}, {WORDS!r})'
        code = f'import denseclip.runtime\ndenseclip.runtime.{call}'
        found.append((to, differing(model, runtime, pixels), f'{size:.1f}', took[to], first(code)))
    lines = [
        (name if kind == 'PyTorch' else '', kind, wrong, size, f'{1000 * seconds:.0f}', f'{cpu:.1f}', f'{peak:.0f}')
        for kind, wrong, size, seconds, (cpu, peak) in found
    ]
    return [*lines, *refused]


def loaded(name: str) -> Inferencer:
    """A model of bundled weights."""
    return Inferencer(device='cpu') if name == 'bundled' else Inferencer.from_preset(name, WORDS, _CLIP, device='cpu')


def torch_code(name: str, picture: Path) -> str:
    """What a process does to label a picture with PyTorch."""
    make = (
        'Inferencer(device="cpu")' if name == 'bundled' else f'Inferencer.from_preset({name!r}, {WORDS!r}, {_CLIP!r})'
    )
    return (
        'import torch; torch.set_num_threads(1)\nfrom denseclip.apis.inferencer import Inferencer\n'
        f'{make}.segment({str(picture)!r}, {WORDS!r})'
    )


def first(code: str) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a process on one thread."""
    settings = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', '-c', _RUN.format(code=code)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    cpu, peak = map(float, done.stdout.split()[-2:])
    return cpu, peak


def in_turn(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least CPU seconds of each, one after the other: other programs on the machine only add to them."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            start = time.process_time()
            run()
            if number:  # the first round warms up
                found[name].append(time.process_time() - start)
    return {name: min(seconds) for name, seconds in found.items()}


def differing(model: Inferencer, runtime: Any, pixels: np.ndarray) -> str:
    """Pixels that differ over several sizes, of how many."""
    wrong = total = 0
    for size in SIZES:
        some = np.asarray(Image.fromarray(pixels).resize(size[::-1]))
        wanted, found = (one.segment(some, WORDS, scores=False).label_map for one in (model, runtime))
        wrong, total = wrong + int((wanted != found).sum()), total + wanted.size
    return f'{wrong} of {total}'


if __name__ == '__main__':
    sys.exit(main())
