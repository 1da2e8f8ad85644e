"""Whether this machine can compile what ``torch.compile`` writes."""

from __future__ import annotations

import os
import shutil

import torch

_COMPILERS = ('g++', 'clang++', 'c++', 'cl')


def require_compiler(backend: bool | str, device_type: str) -> None:
    """Refuse to compile where nothing could run the result.

    Args:
        backend: Of ``torch.compile``; True is ``'inductor'``, which writes C++ for CPUs and Triton for GPUs.
        device_type: Where the model runs.

    Raises:
        ValueError: With what is missing.
    """
    name = 'inductor' if backend is True else str(backend)
    known = [*torch._dynamo.list_backends(exclude_tags=()), 'inductor']
    if name not in known:
        raise ValueError(f"--compile backend '{name}' is unknown; there are {', '.join(sorted(set(known)))}.")
    if name == 'inductor' and device_type == 'cpu' and not cpp_compiler():
        raise ValueError(
            "torch.compile's backend 'inductor' writes C++, and no compiler is here (g++, clang++ or $CXX): install "
            'one, or leave --compile (compile=) out.'
        )


def cpp_compiler() -> str | None:
    """The C++ compiler that PyTorch would find, or None."""
    asked = os.environ.get('CXX')
    return next((path for name in ((asked,) if asked else _COMPILERS) if (path := shutil.which(name))), None)
