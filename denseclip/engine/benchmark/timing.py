"""Timing of several things in one process, in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress


@dataclass(frozen=True)
class Samples:
    """Repeated measurements of one thing.

    Attributes:
        seconds: One entry per repetition, in order.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle measurement."""
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        """The measurement that other processes disturbed least."""
        return min(self.seconds)


def synchronize(device: torch.device | str) -> None:
    """Wait for the device; the CPU has nothing to wait for."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def in_turn(
    cases: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    warmup: int = 1,
    device: torch.device | str = 'cpu',
    label: str = 'timing',
) -> dict[str, Samples]:
    """Measure callables in turn: A B C A B C ...

    Args:
        cases: Name to callable.
        repeats: Rounds that count.
        warmup: Rounds before them that do not.
        device: Where the work runs.
        label: Shown beside the progress bar (drawn on terminals only).

    Returns:
        Name to measurements.

    Raises:
        ValueError: If ``repeats`` is less than one.
    """
    if repeats < 1:
        raise ValueError(f'repeats must be at least 1, got {repeats}.')
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    console = Console(stderr=True)
    # A thread that redraws the bar would be measured, too.
    with Progress(console=console, transient=True, disable=not console.is_terminal, auto_refresh=False) as bar:
        task = bar.add_task(label, total=(warmup + repeats) * len(cases))
        for turn in range(warmup + repeats):
            for name, case in cases.items():
                synchronize(device)
                start = time.perf_counter()
                case()
                synchronize(device)
                if turn >= warmup:
                    seconds[name].append(time.perf_counter() - start)
                bar.update(task, advance=1, refresh=True)
    return {name: Samples(tuple(values)) for name, values in seconds.items()}
