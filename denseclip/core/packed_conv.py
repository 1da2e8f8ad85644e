"""Convolutions of a CPU with filters in the processor's own order, and the activation behind them in the same pass.

``torch.nn.functional.conv2d`` brings filters into that order at every call, gives 1 x 1 convolutions of one thread to
an older kernel with a pass of its own for the bias, and activations read and write all maps once more. oneDNN, which
PyTorch calls anyway, does all of it in one pass; the operators are those that PyTorch's compiler calls.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.core.precision import autocast_dtype

Pair = tuple[int, int]
_ACTIVATIONS: dict[type, tuple[str, list[float]]] = {
    nn.Identity: ('none', []),
    nn.ReLU: ('relu', []),
    nn.ReLU6: ('hardtanh', [0.0, 6.0]),
}


def can_pack(activation: nn.Module) -> bool:
    """Whether oneDNN is there, and does this activation, too."""
    there = hasattr(torch.ops.mkldnn, '_convolution_pointwise') and hasattr(_kernels(), 'mkldnn_reorder_conv2d_weight')
    return torch.backends.mkldnn.is_available() and there and type(activation) in _ACTIVATIONS


class PackedConv(nn.Module):
    """A convolution and its activation, for prediction.

    Filters are packed at the first call of a type; they must not change afterwards. Where oneDNN does not apply (other
    devices and types, a graph that is being recorded) PyTorch's functions are called.

    Args:
        weight: Filters.
        bias: Of each filter.
        stride: Step in rows and columns.
        groups: Of channels.
        activation: One of those that :func:`can_pack` knows.

    Shape:
        - weight: :math:`(O, C / groups, kh, kw)`; bias: :math:`(O,)`
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: Pair, groups: int, activation: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), False)
        self.stride, self.groups, self.activation = stride, groups, activation
        self._packed: dict[Any, tuple[Tensor, Tensor | None]] = {}

    def forward(self, x: Tensor, padding: Pair, uneven: Pair = (0, 0)) -> Tensor:
        """Convolve (N, C, H, W).

        Args:
            x: Maps.
            padding: Rows above and below, columns on the left and on the right.
            uneven: How many of those above and on the left are too many.
        """
        dtype = autocast_dtype(x.device.type) or x.dtype
        if not _applies(x, dtype):
            found = F.conv2d(x, self._padded(uneven), self.bias, self.stride, padding, groups=self.groups)
            return self.activation(found)
        x = x.to(dtype)
        weight, bias = self._pack(x, padding, uneven)
        name, numbers = _ACTIVATIONS[type(self.activation)]
        run = torch.ops.mkldnn._convolution_pointwise
        return run(x, weight, bias, padding, self.stride, (1, 1), self.groups, name, numbers, '')

    def _padded(self, uneven: Pair) -> Tensor:
        """The filters with zeros for what the padding has too much."""
        return F.pad(self.weight, (uneven[1], 0, uneven[0], 0)) if any(uneven) else self.weight

    def _pack(self, x: Tensor, padding: Pair, uneven: Pair) -> tuple[Tensor, Tensor | None]:
        """Filters in the type of the maps, and the bias in float32."""
        key = (x.dtype, uneven)
        if key not in self._packed:
            weight = self._padded(uneven).to(x.dtype).to_mkldnn()
            pack = _kernels().mkldnn_reorder_conv2d_weight
            packed = pack(weight, padding, self.stride, (1, 1), self.groups, list(x.shape))
            # In float32 whatever the maps are: it is added to sums, which are rounded afterwards.
            self._packed[key] = packed, None if self.bias is None else self.bias.float()
        return self._packed[key]


def _applies(x: Tensor, dtype: torch.dtype) -> bool:
    if x.device.type != 'cpu' or torch.jit.is_tracing() or not torch.backends.mkldnn.enabled or x.numel() == 0:
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _kernels() -> Any:
    return cast(Any, torch._C)._nn
