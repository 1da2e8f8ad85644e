"""Benchmark of one model: size, operations, time per stage, memory, and how near it comes to the machine's ceiling."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.core.precision import low_dtype

from . import tables
from .ceiling import MatrixProduct
from .flops import Flops, count_flops
from .machine import describe
from .memory import peak_memory
from .plain_open_vocab import is_open_vocabulary
from .report import Report
from .stages import TEST_STAGES, TRAIN_STAGES, StageClock, resolve_stages
from .timing import in_turn
from .variants import FAST, PLAIN, plain_means, require_plain, variant
from .workload import ModelOptions, Workload

_CEILING = 'matrix product'


def benchmark_model(
    options: ModelOptions, *, against_plain: bool = False, repeats: int = 10, warmup: int = 2, memory: bool = True
) -> Report:
    """Measure a model.

    Args:
        options: The model and its input.
        against_plain: Also measure the plain version, in turn with ours, and compare the results.
        repeats: Rounds that count.
        warmup: Rounds that do not.
        memory: Measure peak memory (starts one process per version on the CPU).

    Returns:
        The report; ``report.equal`` says whether both versions gave the same.

    Raises:
        denseclip.engine.config.OptionError: If the config cannot be measured as asked.
    """
    work = Workload(options)
    names = [FAST, PLAIN] if against_plain else [FAST]
    if against_plain:
        require_plain(work.model)
    dtype = low_dtype(options.precision) or torch.float32
    what = 'training step' if options.train else 'prediction'
    shape = ' for '.join('x'.join(map(str, size)) for size in dict.fromkeys([work.size.input, work.size.original]))
    report = Report(
        f'{options.config}: {what}, {options.batch_size} x {shape}, K={work.num_classes}',
        f'{describe(options.device)}, {_computed(options)}',
    )
    tables.parameters(report, work.model)
    flops = _flops(work, names)
    if against_plain:
        report.machine += f'\n\nPlain: {plain_means(work.model)}.'
        differences = _differences(work)
        tables.differences(report, differences)
        report.equal = not any(count for count, *_ in differences.values())
    ceiling = MatrixProduct(options.device, dtype)
    samples, stages = _time(work, names, ceiling, repeats, warmup)
    ceiling_speed = ceiling.flops / samples.pop(_CEILING).median
    tables.times(report, samples, stages, options.batch_size)
    tables.operations(report, flops, samples, ceiling_speed, plain_encodes_text=not is_open_vocabulary(work.model))
    if memory:
        tables.memory(report, {n: peak_memory(prepare_step, options, n, device=options.device) for n in names})
    return report


def _computed(options: ModelOptions) -> str:
    """How a model computes, in words."""
    layout = [] if options.layout == 'auto' else [f'layout {options.layout}']
    graphs = ['compiled' if options.compile is True else f'compiled by {options.compile}'] if options.compile else []
    again = ['activations computed again'] if options.train and options.grad_checkpointing else []
    return ', '.join([options.precision, *layout, *graphs, *again])


def prepare_step(options: ModelOptions, name: str) -> Callable[[], Any]:
    """Build the model; the returned callable runs one step of a version (for :func:`peak_memory`)."""
    work = Workload(options)

    def run() -> None:
        with variant(work.model, name):
            work.step()

    return run


def _flops(work: Workload, names: list[str]) -> dict[str, Flops]:
    """Operations of a step; those of the text are the same in every version and counted once."""
    model = work.model
    if is_open_vocabulary(model):
        text = _open_vocabulary_text(model)
        return {name: replace(_counted(work, name), text=text) for name in names}
    cache = getattr(model, 'class_text', None) or getattr(model, 'texts', None)
    branch = (model, 'text_of') if hasattr(model, 'text_of') else (cache, 'forward')
    flops = {}
    for name in names:
        if cache is not None:
            cache.clear()
        flops[name] = _counted(work, name, *branch)
    return flops


def _counted(work: Workload, name: str, branch: Any = None, method: str = 'forward') -> Flops:
    with variant(work.model, name), nullcontext() if work.options.train else _frozen(work.model):
        return count_flops(work.step, branch, method)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Parameters ask for no gradient: PyTorch's counter stops at their views, even where gradients are off."""
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _open_vocabulary_text(model: Any) -> int:
    """Operations of encoding the vocabulary, counted without values: thousands of prompts take minutes."""
    text = ClassEmbeddings(copy.deepcopy(model.text.tower).to('meta'), model.text.bank.templates, model.text.bank.merge)
    text.set_vocabulary(model.vocabulary)
    return count_flops(text).image


def _differences(work: Workload) -> dict[str, tuple[int, int, int]]:
    """Per result: numbers that differ between the versions, how many there are, and how many distinct ones."""
    plain, fast = (_results(work, name) for name in (PLAIN, FAST))
    return {
        key: (_differing(v, fast[key], work.task.tolerance), v.numel(), v.unique().numel()) for key, v in plain.items()
    }


def _differing(plain: Tensor, fast: Tensor, tolerance: float) -> int:
    if plain.shape != fast.shape:
        return max(plain.numel(), fast.numel())
    return int((plain != fast).sum() if tolerance == 0 else ((plain - fast).abs() > tolerance).sum())


def _results(work: Workload, name: str) -> dict[str, Tensor]:
    with variant(work.model, name):
        if work.options.train:
            return {'losses': torch.stack([v.double().sum() for v in work.losses().values()])}
        results = work.results()
        text = getattr(work.model, 'class_text', None)
        if text is not None and work.model.prompting != 'pre':  # there contexts, and so texts, depend on the picture
            with torch.no_grad():
                results['text embeddings'] = text(work.model.text_encoder, work.model.contexts)
        return results


def _time(
    work: Workload, names: list[str], ceiling: MatrixProduct, repeats: int, warmup: int
) -> tuple[dict[str, Any], dict[str, list[dict[str, float]]]]:
    """Time the versions and the ceiling in turn; returns the samples, and the stages of each counting round."""
    options = work.options
    stages = resolve_stages(work.model, TRAIN_STAGES if options.train else TEST_STAGES)
    if work.optim_wrapper is not None:
        stages += [(work.optim_wrapper, 'backward', 'backward'), (work.optim_wrapper, 'step', 'optimizer')]
    clocks = {name: StageClock(options.device) for name in names}

    def timed(name: str) -> Callable[[], Any]:
        def run() -> None:
            with variant(work.model, name), clocks[name].watch(stages):
                work.step()

        return run

    cases: dict[str, Callable[[], Any]] = {name: timed(name) for name in names}
    cases[_CEILING] = ceiling
    samples = in_turn(cases, repeats=repeats, warmup=warmup, device=options.device)
    return samples, {name: clock.runs[warmup:] for name, clock in clocks.items()}
