"""The tables of a model's report."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .flops import Flops
from .memory import PeakMemory
from .report import Report
from .stages import OTHER
from .timing import Samples
from .variants import FAST, PLAIN

_GIGA, _MEBI = 1e9, 2**20


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Parameters and trainable ones: of all, of all but the text encoder, of every child that has any, and own ones."""

    def count(tensors: Iterable[Tensor]) -> tuple[int, int]:
        tensors = list(tensors)
        return sum(p.numel() for p in tensors), sum(p.numel() for p in tensors if p.requires_grad)

    named = dict(model.named_parameters())
    parts = {
        'all': count(named.values()),
        'without text encoder': count(p for name, p in named.items() if not name.startswith('text_encoder.')),
        **{name: count(child.parameters()) for name, child in model.named_children()},
        "the model's own": count(model.parameters(recurse=False)),
    }
    return {part: numbers for part, numbers in parts.items() if numbers[0]}


def parameters(report: Report, model: nn.Module) -> None:
    """Add the parameter counts."""
    table = report.table('Parameters (millions)', 'part', 'all', 'trainable')
    for part, (total, trainable) in count_parameters(model).items():
        table.add(part, total / 1e6, trainable / 1e6)


def differences(report: Report, counts: Mapping[str, tuple[int, int, int]]) -> None:
    """Add the comparison of both versions' results."""
    table = report.table('Plain against ours', 'result', 'differing numbers', 'of', 'distinct values')
    for key, numbers in counts.items():
        table.add(key, *numbers)


def times(
    report: Report, samples: Mapping[str, Samples], stages: Mapping[str, list[dict[str, float]]], batch_size: int
) -> None:
    """Add times; each stage's median is taken by itself, so medians need not add up to the total's."""
    table = report.table('Time (milliseconds, median)', 'stage', *samples, *_ratio_head(samples))

    def add(label: str, seconds: dict[str, float]) -> None:
        table.add(label, *(value * 1e3 for value in seconds.values()), *_ratio(seconds))

    found = dict.fromkeys(stage for runs in stages.values() for run in runs for stage in run if stage != OTHER)
    for stage in [*found, OTHER]:
        add(stage, {n: statistics.median(run.get(stage, 0.0) for run in stages[n]) for n in samples})
    add('total', {n: s.median for n, s in samples.items()})
    add('total, fastest', {n: s.fastest for n, s in samples.items()})
    blank: list[None] = [None] * (len(samples) - 1)
    table.add('pictures per second', *(batch_size / s.median for s in samples.values()), *blank)


def operations(
    report: Report,
    flops: Mapping[str, Flops],
    samples: Mapping[str, Samples],
    ceiling_speed: float,
    plain_encodes_text: bool = True,
) -> None:
    """Add the operations of a step and how near it comes to the ceiling; text that it does not encode is no work."""
    table = report.table('Operations (a multiplication and an addition are two)', 'quantity', *samples)
    table.add('image, GFLOP', *(flops[n].image / _GIGA for n in samples))
    table.add('text when encoded, GFLOP', *(flops[n].text / _GIGA for n in samples))
    done = {n: flops[n].total if n == PLAIN and plain_encodes_text else flops[n].image for n in samples}
    speed = {n: done[n] / samples[n].median for n in samples}
    table.add('achieved, GFLOP/s', *(value / _GIGA for value in speed.values()))
    table.add('matrix product, GFLOP/s', *(ceiling_speed / _GIGA for _ in samples))
    table.add('achieved / matrix product', *(value / ceiling_speed for value in speed.values()))


def memory(report: Report, peaks: Mapping[str, PeakMemory]) -> None:
    """Add peak memory."""
    table = report.table('Memory (MiB)', 'quantity', *peaks, *_ratio_head(peaks))
    for label, attribute in (('peak', 'peak'), ('model loaded', 'before'), ('extra in the first step', 'extra')):
        values = {n: getattr(peak, attribute) / _MEBI for n, peak in peaks.items()}
        table.add(label, *values.values(), *_ratio(values))


def _ratio_head(names: Iterable[str]) -> list[str]:
    return [f'{PLAIN} / {FAST}'] if PLAIN in names else []


def _ratio(values: Mapping[str, float]) -> list[float | None]:
    if PLAIN not in values:
        return []
    return [values[PLAIN] / values[FAST] if values[FAST] > 0 else None]
