"""Models of every family in every format and precision of an export beside PyTorch: what differs, size, time, memory.

    python -m studies.runtime_comparison.formats street.jpg --out exports
    python -m studies.runtime_comparison.formats street.jpg --out exports --models bundled --calibrate pictures/

Exports that lie in the folder already are taken as they are; graphs of ONNX are made once for all that is made of them.
Models run on one thread and in turn (A B C A B C); each peak of memory is that of a process of its own that opens a
model and sees one picture.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.export import export, region_writing, writing
from denseclip.export.errors import ExportError
from denseclip.runtime import load
from denseclip.runtime.manifest import FILE
from studies.runtime_comparison.asking import CLOSED, ask
from studies.runtime_comparison.models import NAMES, difference, loaded

SIZES = ((360, 480), (321, 401), (97, 131), (200, 90), (33, 257), (240, 320), (1, 1))
VARIANTS = MappingProxyType(
    {
        'onnx': ('onnx', 'fp32', 'fp32'),
        'onnx, fp16': ('onnx', 'fp16', 'fp32'),
        'onnx, int8': ('onnx', 'int8', 'fp32'),
        'openvino': ('openvino', 'fp32', 'fp32'),
        'openvino, run in bf16': ('openvino', 'fp32', 'bf16'),
        'openvino, fp16': ('openvino', 'fp16', 'fp32'),
        'openvino, int8': ('openvino', 'int8', 'fp32'),
        'openvino, int8, run in bf16': ('openvino', 'int8', 'bf16'),
        'torch': ('torch', 'fp32', 'fp32'),
    }
)
"""Format and precision of the export, and what it is run in."""
_RUN = """
import time
from studies.runtime_comparison.asking import ask
{make}
ask({name!r}, model, {picture!r})
peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(time.process_time(), int(peak) / 1024)
"""


def main() -> int:
    """Print a row for every model and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('picture', type=Path, help='a photograph')
    parser.add_argument('--out', type=Path, required=True, help='folder of the exports')
    parser.add_argument('--models', nargs='+', default=['sclip', *NAMES])
    parser.add_argument('--variants', nargs='+', choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--calibrate', type=Path, metavar='FOLDER', help='pictures for lower precisions, which need it')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with Image.open(args.picture) as picture:
        pixels = np.asarray(picture.convert('RGB').resize(SIZES[0][::-1]))
    print('| model | format | what differs | MB | CPU ms | CPU s to the first result | peak MB |')
    print('|---|---|---:|---:|---:|---:|---:|')
    named = [one for one in args.variants if args.calibrate is not None or VARIANTS[one][1] == 'fp32']
    for name in args.models:
        for row in rows(name, args.out, args.picture, pixels, args.rounds, named, args.calibrate):
            print('| ' + ' | '.join(row) + ' |', flush=True)
    return 0


def rows(
    name: str,
    out: Path,
    picture: Path,
    pixels: np.ndarray,
    rounds: int,
    named: Sequence[str] = tuple(VARIANTS),
    calibrate: Path | None = None,
) -> list[tuple[str, ...]]:
    """Rows of a model: PyTorch and the variants."""
    model, refused = loaded(name), []
    runtimes: dict[str, Any] = {}
    folders: dict[str, Path] = {}
    for variant in named:
        try:
            folders[variant] = exported(name, model, out, variant, calibrate)
            precision = VARIANTS[variant][2]
            runtimes[variant] = load(folders[variant], threads=1, trust=True, precision=precision)
            ask(name, runtimes[variant], pixels)
        except (ExportError, UserError) as error:
            runtimes.pop(variant, None)
            refused.append(('', variant, f'no: {" ".join(str(error).split()):.200}', '', '', '', ''))
    work: dict[str, Callable[[], Any]] = {'PyTorch': partial(ask, name, model, pixels)}
    for variant, runtime in runtimes.items():
        work[variant] = partial(ask, name, runtime, pixels)
    took = in_turn(work, rounds)
    found = [('PyTorch', '0', '', took['PyTorch'], first(name, picture))]
    for variant, runtime in runtimes.items():
        folder, precision = folders[variant], VARIANTS[variant][2]
        files = [file for part in ('image', 'regions') for file in folder.glob(f'{part}.*')]
        size = f'{sum(file.stat().st_size for file in files) / 1e6:.1f}'
        seen = first(name, picture, folder, precision)
        found.append((variant, differing(name, model, runtime, pixels), size, took[variant], seen))
    lines = [
        (name if kind == 'PyTorch' else '', kind, wrong, size, f'{1000 * seconds:.0f}', f'{cpu:.1f}', f'{peak:.0f}')
        for kind, wrong, size, seconds, (cpu, peak) in found
    ]
    return [*lines, *refused]


def exported(name: str, model: Any, out: Path, variant: str, calibrate: Path | None) -> Path:
    """The folder of a variant, which is made if it is not there."""
    to, precision, _ = VARIANTS[variant]
    folder = out / f'{name}-{to}-{precision}'
    if not (folder / FILE).is_file():
        pictures = None if precision == 'fp32' else calibrate
        own = name in ('bundled', *CLOSED)
        with graphs_made_once(out / f'{name}-graphs'):
            export(model, folder, to, own_words=own, precision=precision, calibrate=pictures)
    return folder


@contextmanager
def graphs_made_once(folder: Path) -> Iterator[None]:
    """Take graphs of ONNX from a folder where they are there; they are compared as ever."""

    def once(write: Callable[..., None], graph: Any, path: Path, *more: Any) -> None:
        if path.suffix == '.onnx' and (folder / path.name).is_file():
            shutil.copy(folder / path.name, path)
            return
        write(graph, path, *more)
        if path.suffix == '.onnx':
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)

    writers = [(writing, 'write_image_graph'), (writing, 'write_text_graph'), (region_writing, 'write_region_graph')]
    with ExitStack() as stack:
        for module, writer in writers:
            stack.enter_context(patch.object(module, writer, partial(once, getattr(module, writer))))
        yield


def first(name: str, picture: Path, folder: Path | None = None, precision: str = 'fp32') -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a process on one thread that opens an export, or a model, for a picture."""
    make = (
        f'import denseclip.runtime; model = denseclip.runtime.load({str(folder)!r}, None, 1, True, {precision!r})'
        if folder is not None
        else 'import torch; torch.set_num_threads(1); from studies.runtime_comparison.models import loaded; '
        f'model = loaded({name!r})'
    )
    code = _RUN.format(make=make, name=name, picture=str(picture))
    settings = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
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


def differing(name: str, model: Any, runtime: Any, pixels: np.ndarray) -> str:
    """What differs over several sizes, of how much."""
    wrong = total = 0
    for size in SIZES:
        some = np.asarray(Image.fromarray(pixels).resize(size[::-1]))
        more = difference(*(ask(name, one, some) for one in (model, runtime)))
        wrong, total = wrong + more[0], total + more[1]
    return f'{wrong} of {total}'


if __name__ == '__main__':
    sys.exit(main())
