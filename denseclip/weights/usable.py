"""Whether the tensors of a file can be used as weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .errors import WeightFileError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_usable(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse tensors without data, in other layouts than plain ones, and numbers that are none.

    Infinity is allowed: masks of attention hold it.

    Args:
        state: Name to tensor.
        path: The file, for the message.

    Raises:
        WeightFileError: Names the file, the first such tensor and what to do.
    """
    for name, value in state.items():
        if value.is_meta:
            raise WeightFileError(
                f"'{path}' holds '{name}' without its numbers (a meta tensor): save the loaded model."
            )
        if value.layout != torch.strided or value.is_quantized:
            kind = 'quantized' if value.is_quantized else str(value.layout).removeprefix('torch.')
            raise WeightFileError(f"'{path}' holds '{name}' as a {kind} tensor: save it plain (to_dense, dequantize).")
        # A sum is NaN where one of its numbers is, and is made sooner; infinities of both signs make one, too.
        if value.dtype in _FLOATS and bool(value.sum().isnan()) and (count := int(value.isnan().sum())):
            raise WeightFileError(
                f"'{path}' holds {count} of {value.numel()} numbers of '{name}' as NaN: the training that wrote it "
                'broke; take an earlier checkpoint.'
            )
