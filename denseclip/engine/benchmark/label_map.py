"""Benchmark of post-processing with many classes: the chunked label map against full logits and argmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.models.functional.tiled_label_map import tiled_label_map

from .machine import describe, set_up
from .memory import peak_memory
from .report import Report
from .timing import in_turn
from .variants import FAST, PLAIN

_MEBI = 2**20


@dataclass(frozen=True)
class LabelMapOptions:
    """One picture's scores and what becomes of them.

    Attributes:
        classes: Number of classes K.
        size: Height and width of the picture, and of the label map.
        input_size: Height and width of the network's input, between the scores and the picture; None is ``size``.
        stride: Pixels of the network's input per score.
        device: Where it runs.
        threads: CPU threads; None leaves PyTorch's choice.
    """

    classes: int = 847
    size: tuple[int, int] = (640, 854)
    input_size: tuple[int, int] | None = None
    stride: int = 4
    device: str = 'cpu'
    threads: int | None = None

    @property
    def path(self) -> list[tuple[int, int]]:
        """Sizes that the scores are resized to."""
        return [self.size] if self.input_size is None else [self.input_size, self.size]


def benchmark_label_map(
    options: LabelMapOptions, *, against_plain: bool = False, repeats: int = 5, warmup: int = 1, memory: bool = True
) -> Report:
    """Measure time and extra memory of a label map.

    Args:
        options: The scores.
        against_plain: Also resize all K maps and take the argmax, in turn with ours, and compare.
        repeats: Rounds that count.
        warmup: Rounds that do not.
        memory: Measure peak memory (starts one process per version on the CPU).
    """
    logits = random_logits(options)
    cases = {FAST: _work(FAST, logits, options)}
    if against_plain:
        cases[PLAIN] = _work(PLAIN, logits, options)
    sizes = ' -> '.join('x'.join(map(str, size)) for size in [tuple(logits.shape[1:]), *options.path])
    report = Report(f'Label map: K={options.classes}, {sizes}', f'{describe(options.device)}, float32')
    if against_plain:
        report.equal = torch.equal(cases[FAST]().long(), cases[PLAIN]())
    samples = in_turn(cases, repeats=repeats, warmup=warmup, device=options.device)
    peaks = {n: peak_memory(prepare_label_map, options, n, device=options.device) for n in cases} if memory else {}
    table = report.table('Label map', 'version', 'median, ms', 'fastest, ms', 'extra memory, MiB')
    for name, sample in samples.items():
        table.add(name, sample.median * 1e3, sample.fastest * 1e3, peaks[name].extra / _MEBI if memory else None)
    if against_plain:
        slow, fast = samples[PLAIN], samples[FAST]
        saved = peaks[PLAIN].extra / max(peaks[FAST].extra, 1) if memory else None
        table.add('ratio', slow.median / fast.median, slow.fastest / fast.fastest, saved)
    return report


def random_logits(options: LabelMapOptions) -> Tensor:
    """Scores at the resolution of the head."""
    set_up(options.device, options.threads)
    height, width = (-(-side // options.stride) for side in options.path[0])
    generator = torch.Generator().manual_seed(0)
    return torch.randn(options.classes, height, width, generator=generator).to(options.device)


def full_label_map(logits: Tensor, path: list[tuple[int, int]]) -> Tensor:
    """The plain way, as MMSegmentation goes it: all maps in full size, then argmax."""
    for size in path:
        logits = F.interpolate(logits[None], size=size, mode='bilinear', align_corners=False)[0]
    return logits.argmax(dim=0)


def prepare_label_map(options: LabelMapOptions, name: str) -> Callable[[], Any]:
    """Make the scores and run a version on a few small ones, so that only the real work is measured afterwards.

    The small result still is large enough for the same kernels (PyTorch has others up to H + W = 128).
    """
    logits = random_logits(options)
    _work(name, logits[:8, :8, :8].contiguous(), LabelMapOptions(size=(80, 80)))()
    return _work(name, logits, options)


def _work(name: str, logits: Tensor, options: LabelMapOptions) -> Callable[[], Tensor]:
    if name == FAST:
        return lambda: tiled_label_map([logits], None, options.path[0], options.path[-1])
    return lambda: full_label_map(logits, options.path)
