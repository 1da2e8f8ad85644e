"""What models compute in: the precisions there are, where each of them works, and contexts that compute in one.

Questions about autocast also have an answer on devices that know none (``meta``).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

Precision = Literal['fp32', 'bf16', 'fp16', 'int8-dynamic']
PRECISIONS: tuple[str, ...] = get_args(Precision)
_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def full_precision(device_type: str) -> AbstractContextManager[None]:
    """A context in which autocast is off."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The type that autocast computes in at present, or None when it is off."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return None


def low_dtype(precision: str) -> torch.dtype | None:
    """The floating-point type that a precision stands for; None for those that compute in float32 around integers."""
    return _DTYPES.get(precision)


def check_precision(precision: str, device_type: str | None = None, training: bool = False) -> None:
    """Refuse a precision that is unknown, or of no use where it is asked for.

    Args:
        precision: One of :data:`PRECISIONS`.
        device_type: Where the model runs; None: not known yet.
        training: Whether it is trained.

    Raises:
        ValueError: With what to use instead.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision '{precision}' must be one of {', '.join(PRECISIONS)}.")
    if precision == 'int8-dynamic' and training:
        raise ValueError('int8-dynamic has no gradients: train in bf16 or fp32, and use int8-dynamic afterwards.')
    if device_type is None or precision == 'fp32':
        return
    if precision == 'int8-dynamic' and device_type != 'cpu':
        raise ValueError(f"int8-dynamic has kernels for CPUs alone: use bf16 or fp16 on device '{device_type}'.")
    if precision == 'fp16' and device_type == 'cpu':
        raise ValueError(
            'fp16 is for GPUs: on a CPU a ViT-B/16 takes 0.9 to 1.3 times as long as in fp32 (docs/precision.md); use '
            'bf16.'
        )
    if precision in _DTYPES and not torch.amp.is_autocast_available(device_type):
        raise ValueError(f"device '{device_type}' has no autocast: leave precision='{precision}' out.")


def autocast(precision: Precision, device_type: str) -> AbstractContextManager[None]:
    """A context that computes in a precision; ``'fp32'`` and ``'int8-dynamic'`` leave everything as it is.

    Raises:
        ValueError: See :func:`check_precision`.
    """
    check_precision(precision, device_type)
    dtype = low_dtype(precision)
    return nullcontext() if dtype is None else torch.autocast(device_type, dtype=dtype)
