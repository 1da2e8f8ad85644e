"""Peak memory of a piece of work: in a process of its own on the CPU, by the allocator's own count on a GPU."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from denseclip.compat.allocator import release_free_memory

_STATUS = Path('/proc/self/status')


@dataclass(frozen=True)
class PeakMemory:
    """Bytes in use.

    Attributes:
        before: When everything was loaded and the work had not begun.
        peak: The most at any time until the work was done.
    """

    before: int
    peak: int

    @property
    def extra(self) -> int:
        """What the work needed on top."""
        return self.peak - self.before


def peak_memory(
    prepare: Callable[..., Callable[[], Any]], *args: Any, device: torch.device | str = 'cpu'
) -> PeakMemory:
    """Measure the memory that a piece of work needs.

    On the CPU a fresh process prepares and does the work, because the high-water mark of a process never falls and the
    allocator keeps what it once had.

    Args:
        prepare: Importable function; called with ``args`` it loads what is needed and returns the work.
        args: Its arguments; they must be picklable.
        device: Where the work runs.
    """
    if torch.device(device).type == 'cuda':
        return _measure_cuda(prepare(*args), device)
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measure_here, prepare, args).result()


def _measure_here(prepare: Callable[..., Callable[[], Any]], args: tuple[Any, ...]) -> PeakMemory:
    work = prepare(*args)
    # What loading has freed goes back first: the work would take it without being charged for it, or leave it in holes
    # and be charged for more, as chance has it.
    gc.collect()
    release_free_memory()
    _reset_high_water()
    before = resident_bytes()
    work()
    return PeakMemory(before, high_water_bytes())


def _measure_cuda(work: Callable[[], Any], device: torch.device | str) -> PeakMemory:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return PeakMemory(before, torch.cuda.max_memory_allocated(device))


def resident_bytes() -> int:
    """Resident set size of this process; its high-water mark where the system does not tell the present size."""
    return _status('VmRSS') or high_water_bytes()


def high_water_bytes() -> int:
    """The most that this process ever had resident (on Linux: since :func:`_reset_high_water`)."""
    if peak := _status('VmHWM'):
        return peak
    import resource  # not on Windows

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == 'darwin' else usage * 1024


def _status(field: str) -> int:
    """A size in /proc/self/status, in bytes; 0 where there is no such file."""
    if not _STATUS.is_file():
        return 0
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith(f'{field}:')), f'{field}: 0')
    return int(line.split()[1]) * 1024


def _reset_high_water() -> None:
    """Let the high-water mark start from the present size, so that loading does not count (Linux, best effort)."""
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        return
