"""What the machine can do at best: dense matrix multiplication with the threads and the type that the model uses."""

from __future__ import annotations

import torch

_SIDE = {'cpu': 1536, 'cuda': 8192}


class MatrixProduct:
    """A product of two square matrices, large enough to run at full speed; call it to run it.

    Args:
        device: Where it runs.
        dtype: Type of the matrices.

    Attributes:
        flops: Floating-point operations of one call (a multiplication and an addition are two).
    """

    def __init__(self, device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32) -> None:
        device = torch.device(device)
        side = _SIDE.get(device.type, _SIDE['cpu'])
        self._left = torch.ones(side, side, device=device, dtype=dtype)
        self._right, self._out = torch.ones_like(self._left), torch.empty_like(self._left)
        self.flops = 2 * side**3

    def __call__(self) -> None:
        """Multiply once."""
        with torch.no_grad():
            torch.mm(self._left, self._right, out=self._out)
