"""Autocast questions that also have an answer on devices that know no autocast (``meta``)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

Precision = Literal['fp32', 'bf16']
PRECISIONS: tuple[str, ...] = get_args(Precision)


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


def autocast(precision: Precision, device_type: str) -> AbstractContextManager[None]:
    """A context that computes in a precision; ``'fp32'`` leaves everything as it is.

    Raises:
        ValueError: If the precision is unknown or the device has no autocast.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision '{precision}' must be one of {', '.join(PRECISIONS)}.")
    if precision == 'fp32':
        return nullcontext()
    if not torch.amp.is_autocast_available(device_type):
        raise ValueError(f"device '{device_type}' has no autocast: leave precision='{precision}' out.")
    return torch.autocast(device_type, dtype=torch.bfloat16)
