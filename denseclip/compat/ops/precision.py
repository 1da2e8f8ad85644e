"""Which floating-point type an operator computes in."""

from __future__ import annotations

import torch
from torch import Tensor

LOW_PRECISION = (torch.float16, torch.bfloat16)


def compute_dtype(tensor: Tensor, *, native_half_on_cuda: bool = False) -> torch.dtype:
    """Choose the type to compute in for a given input.

    torchvision has no bfloat16 kernels, and float16 ones on CUDA only; sums and box coordinates also want more than
    eight bits of mantissa.

    Args:
        tensor: The operator's main input.
        native_half_on_cuda: Whether the operator has its own float16 kernel on CUDA that accumulates safely.

    Returns:
        ``float32`` for low-precision inputs that have no kernel of their own, else the input's type.
    """
    if native_half_on_cuda and tensor.dtype == torch.float16 and tensor.is_cuda:
        return tensor.dtype
    return torch.float32 if tensor.dtype in LOW_PRECISION else tensor.dtype
