"""Which floating-point type an operator computes in."""

from __future__ import annotations

import torch
from torch import Tensor

_LOW_PRECISION = (torch.float16, torch.bfloat16)


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Choose the type to compute in for a given input.

    torchvision has no bfloat16 kernels, and float16 ones on CUDA only; box coordinates and long sums also want more
    than eight bits of mantissa. torchvision itself computes these operators in float32 under autocast.

    Args:
        tensor: The operator's main input.

    Returns:
        ``float32`` for low-precision inputs, else the input's type.
    """
    return torch.float32 if tensor.dtype in _LOW_PRECISION else tensor.dtype
