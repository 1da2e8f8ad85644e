"""What the machine can do at best: dense matrix multiplication with the threads and the type that the model uses."""

from __future__ import annotations

from collections.abc import Callable

import torch

_SIDE = {'cpu': 1536, 'cuda': 8192}


def matmul_case(device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32) -> tuple[Callable[[], None], int]:
    """A product of two square matrices, large enough to run at full speed.

    Args:
        device: Where it runs.
        dtype: Type of the matrices.

    Returns:
        The callable and the floating-point operations of one call (a multiplication and an addition are two).
    """
    device = torch.device(device)
    side = _SIDE.get(device.type, _SIDE['cpu'])
    left = torch.ones(side, side, device=device, dtype=dtype)
    right, out = torch.ones_like(left), torch.empty_like(left)

    def multiply() -> None:
        with torch.no_grad():
            torch.mm(left, right, out=out)

    return multiply, 2 * side**3
