"""An export of the bundled model beside the model: time, memory, start, and what differs.

    denseclip export --out exported
    python -m studies.runtime_comparison exported street.jpg
    python -m studies.runtime_comparison exported street.jpg --camvid data/CamVid

Both run in one process and on one thread, in turn (A B A B). Starts are processes of their own, in turn, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from denseclip.apis.inferencer import Inferencer
from denseclip.runtime import RuntimeModel, load

SIZE = (360, 480)
WORDS = 'sky; building; pole; road; pavement; tree; sign; fence; car; pedestrian; cyclist'
STARTS = {
    'pytorch': 'import denseclip; denseclip.segment(PICTURE, WORDS)',
    'runtime': 'import denseclip.runtime; denseclip.runtime.load(EXPORT).segment(PICTURE, WORDS)',
}
# What ``getrusage`` calls the peak counts what the parent had when it started the process.
_REPORT = """
import time
peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(time.process_time(), int(peak) / 1024)
"""


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('export', help='folder that denseclip export wrote')
    parser.add_argument('picture', help='a photograph')
    parser.add_argument('--camvid', type=Path, metavar='FOLDER', help='compare the label maps of its test pictures')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--starts', type=int, default=3)
    args = parser.parse_args()
    for kind, (cpu, peak) in starts(args.export, args.picture, args.starts).items():
        print(f'first result, {kind}: {cpu:.2f} s of CPU, peak {peak:.0f} MB')
    torch.set_num_threads(1)
    model, runtime = Inferencer(device='cpu'), load(args.export, threads=1)
    with Image.open(args.picture) as picture:
        pixels = np.asarray(picture.convert('RGB').resize(SIZE[::-1]))
    for name, seconds in times(model, runtime, pixels, args.rounds).items():
        print(f'{name}: pytorch {1000 * seconds[0]:.0f} ms, runtime {1000 * seconds[1]:.0f} ms, ratio {ratio(seconds)}')
    print(f'words of 1 to 500 classes: {vocabularies(model, runtime, pixels)} of the pixels differ at most')
    if args.camvid is not None:
        compare_camvid(model, runtime, args.camvid)
    return 0


def ratio(seconds: tuple[float, float]) -> str:
    """Second time over the first."""
    return f'{seconds[1] / seconds[0]:.2f}'


def starts(export: str, picture: str, count: int) -> dict[str, tuple[float, float]]:
    """Median CPU seconds and peak memory in MB of a process that segments one picture with words, on one thread."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in STARTS}
    settings = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    values = {'EXPORT': export, 'PICTURE': picture, 'WORDS': WORDS}
    for _ in range(count):
        for kind, code in STARTS.items():
            for name, value in values.items():
                code = code.replace(name, repr(value))
            command = [sys.executable, '-W', 'ignore', '-c', code + _REPORT]
            done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
            cpu, peak = map(float, done.stdout.split()[-2:])
            found[kind].append((cpu, peak))
    return {kind: (median(c for c, _ in rows), median(p for _, p in rows)) for kind, rows in found.items()}


def times(model: Inferencer, runtime: RuntimeModel, pixels: np.ndarray, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds of both, in turn: the network alone, and a picture from pixels to result."""
    images = torch.rand(1, 3, *SIZE, device='cpu')
    text = runtime.class_embeddings(WORDS)
    model.set_vocabulary(WORDS)
    feeds = {'images': images.numpy(), 'text': text}

    def network() -> Any:
        with torch.inference_mode():
            return model.model.head_logits(images)

    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        'network': (network, lambda: runtime.model.run(None, feeds)),
        'picture': (lambda: model.segment(pixels, scores=False), lambda: runtime.segment(pixels, WORDS)),
    }
    return {name: _in_turn(*pair, rounds) for name, pair in pairs.items()}


def _in_turn(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> tuple[float, float]:
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, kept in zip((first, second), found, strict=True):
            start = time.perf_counter()
            work()
            if number:  # the first round warms up
                kept.append(time.perf_counter() - start)
    return median(found[0]), median(found[1])


def vocabularies(model: Inferencer, runtime: RuntimeModel, pixels: np.ndarray) -> float:
    """Largest share of pixels that differ, over twenty vocabularies."""
    counts = np.unique(np.geomspace(1, 500, 24).astype(int))[:20]
    worst = 0.0
    for count in [*counts[:-1].tolist(), 500]:
        words = [f'{WORDS.split("; ")[k % 11]} {k}' for k in range(count)]
        wanted, found = model.segment(pixels, words, scores=False), runtime.segment(pixels, words)
        worst = max(worst, float((wanted.label_map != found.label_map).mean()))
    return worst


def compare_camvid(model: Inferencer, runtime: RuntimeModel, folder: Path) -> None:
    """Print the share of equal pixels on CamVid's test pictures, and mIoU of both."""
    count, own = 0, model.own_vocabulary
    tables = [np.zeros((len(own), len(own)), dtype=np.int64) for _ in range(2)]
    differ, worst, pictures = 0, 0.0, sorted((folder / 'test').glob('*.png'))
    for path in pictures:
        labels = [model.segment(path, own, scores=False).label_map, runtime.segment(path, own).label_map]
        truth = np.asarray(Image.open(folder / 'testannot' / path.name))
        for table, found in zip(tables, labels, strict=True):
            known = truth < len(own)
            table += np.bincount(truth[known] * len(own) + found[known], minlength=len(own) ** 2).reshape(table.shape)
        wrong = int((labels[0] != labels[1]).sum())
        differ, count, worst = differ + wrong, count + truth.size, max(worst, wrong / truth.size)
    scores = [100 * float(np.nanmean(np.diag(t) / (t.sum(0) + t.sum(1) - np.diag(t)))) for t in tables]
    print(f'CamVid, {len(pictures)} test pictures: {differ} of {count} pixels differ ({differ / count:.1e})')
    print(f'  at most {worst:.1e} of a picture; mIoU pytorch {scores[0]:.3f}, runtime {scores[1]:.3f}')


if __name__ == '__main__':
    sys.exit(main())
