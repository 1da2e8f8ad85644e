"""glibc's allocator, told to keep the memory of large tensors.

With glibc's defaults every activation above 32 MB is mapped and unmapped at each step, and the kernel zeroes its pages
each time: a fifth of the CPU time of a training step (EfficientNet-Lite0, four 320 x 400 crops, two cores), one percent
with the setting below. CUDA tensors are not concerned.
"""

import ctypes
import sys
from collections.abc import Callable

# Numbers of mallopt(3), <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_ONE_GIB = 1 << 30


def keep_large_buffers() -> bool:
    """Let freed buffers up to 1 GiB be reused instead of going back to the kernel.

    Memory once used stays with the process, which a training or an evaluation wants anyway.

    Returns:
        Whether the allocator took the settings; False on anything but glibc.
    """
    mallopt = _of_glibc('mallopt')
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, _ONE_GIB) and mallopt(_M_TRIM_THRESHOLD, 2 * _ONE_GIB - 1)
    )


def release_free_memory() -> bool:
    """Give freed memory back to the kernel, whatever the settings: a clean start for a measurement.

    Returns:
        Whether any went back; False on anything but glibc.
    """
    malloc_trim = _of_glibc('malloc_trim')
    return malloc_trim is not None and bool(malloc_trim(ctypes.c_size_t(0)))


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None on other systems."""
    if not sys.platform.startswith('linux'):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
