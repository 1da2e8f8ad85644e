"""The machine that is measured: threads, device, and a line that describes it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from denseclip.compat.allocator import keep_large_buffers

from ..config import OptionError


def set_up(device: str, threads: int | None) -> None:
    """Choose the number of CPU threads, the allocator's settings as training and testing do, and check the device.

    Raises:
        OptionError: If it is not there, or the number of threads is none.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise OptionError(f"--device '{device}' is unknown; use cpu, cuda or cuda:1") from error
    if kind == 'cpu':
        keep_large_buffers()
    elif kind == 'cuda' and not torch.cuda.is_available():
        raise OptionError(f"device '{device}': PyTorch sees no GPU here; `denseclip doctor` says what it sees")
    if threads is not None:
        if threads < 1:
            raise OptionError(f'--threads must be at least 1, got {threads}')
        torch.set_num_threads(threads)


def describe(device: torch.device | str) -> str:
    """One line: processor, threads and versions."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu_name()
    threads = torch.get_num_threads()
    plural = '' if threads == 1 else 's'
    return f'{name}, {threads} thread{plural}, torch {torch.__version__}, Python {platform.python_version()}'


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
