"""Depthwise convolutions that are also trained fast on a CPU.

oneDNN has a kernel for the gradient of depthwise filters up to three columns wide; wider ones go to kernels for dense
groups, five to ten times slower. A wide filter is a few narrow ones beside each other, each seeing its own columns.
TensorFlow's uneven padding needs no padded copy of the maps: the filter can carry a row and a column of zeros.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from denseclip.core.precision import autocast_dtype
from denseclip.core.values import has_values

Pair = tuple[int, int]
_COLUMNS = 3


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution under the names of the one that it replaces.

    Attributes:
        same: Whether padding is TensorFlow's, for a result of ``ceil(H / stride)`` by ``ceil(W / stride)`` places.
    """

    same: bool

    @classmethod
    def like(cls, conv: nn.Conv2d) -> DepthwiseConv2d | None:
        """The same convolution over the same parameters; None where it would gain nothing.

        Args:
            conv: ``torch.nn.Conv2d``, or timm's ``Conv2dSame``.
        """
        same = type(conv).__name__ == 'Conv2dSame'
        plain = (same or type(conv) is nn.Conv2d) and conv.dilation == (1, 1) and conv.padding_mode == 'zeros'
        depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
        if not (plain and depthwise) or isinstance(conv.padding, str) or not (same or conv.kernel_size[1] > _COLUMNS):
            return None
        with torch.device('meta'):
            own = cls(
                conv.in_channels,
                conv.out_channels,
                cast(Any, conv.kernel_size),
                cast(Any, conv.stride),
                cast(Any, conv.padding),
                groups=conv.groups,
                bias=False,
            )
        own.weight, own.bias, own.same = conv.weight, conv.bias, same
        return own.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to maps of the same channels."""
        before, after = self._pads(x)
        if not self._trains_here(x):
            if before != after:
                x, before = F.pad(x, (before[1], after[1], before[0], after[0])), (0, 0)
            return F.conv2d(x, self.weight, self.bias, self.stride, before, groups=self.groups)
        return cast(Tensor, _Depthwise.apply(x, self.weight, self.bias, self.stride, before, after))

    def _pads(self, x: Tensor) -> tuple[Pair, Pair]:
        """Rows and columns of zeros before the maps, and after them."""
        if not self.same:
            padding = cast(Pair, self.padding)
            return padding, padding
        sides = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        down, across = (max((math.ceil(size / step) - 1) * step + kernel - size, 0) for size, kernel, step in sides)
        return (down // 2, across // 2), (down - down // 2, across - across // 2)

    def _trains_here(self, x: Tensor) -> bool:
        wanted = torch.is_grad_enabled() and self.weight.requires_grad and has_values(x)
        place = x.device.type == 'cpu' and x.dtype == torch.float32 and autocast_dtype('cpu') is None
        return wanted and place and not torch.compiler.is_compiling()


def pads_as_tensorflow(conv: nn.Module) -> bool:
    """Whether it is timm's ``Conv2dSame``, or stands for one: its padding depends on the size of the maps."""
    return type(conv).__name__ == 'Conv2dSame' or (isinstance(conv, DepthwiseConv2d) and conv.same)


def use_own_depthwise(network: nn.Module) -> None:
    """Replace depthwise convolutions where that makes training faster, in place; names and weights stay."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and (own := DepthwiseConv2d.like(child)) is not None:
                setattr(module, name, own)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, before: Pair, after: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, before, after
        return F.conv2d(x, _widened(weight, before, after), bias, stride, after, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, before, after = ctx.settings
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _gradient(slope, x, _widened(weight, before, after), stride, after, 0)
        if ctx.needs_input_grad[1]:
            of_weight = _of_filters(slope, x, weight, stride, before)
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum(dim=(0, 2, 3))
        return of_x, of_weight, of_bias, None, None, None


def _widened(weight: Tensor, before: Pair, after: Pair) -> Tensor:
    """Filters that start with zeros, so that padding can be even: as much before the maps as after them."""
    rows, columns = after[0] - before[0], after[1] - before[1]
    return F.pad(weight, (columns, 0, rows, 0)) if rows or columns else weight


def _gradient(slope: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, which: int) -> Tensor:
    wanted = [which == 0, which == 1, False]
    backward = torch.ops.aten.convolution_backward
    return cast(
        Tensor, backward(slope, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted)[which]
    )


def _of_filters(slope: Tensor, x: Tensor, weight: Tensor, stride: Pair, before: Pair) -> Tensor:
    """Gradient of the filters, a few columns at a time."""
    rows, columns = weight.shape[2:]
    last_row, last_column = ((size - 1) * step for size, step in zip(slope.shape[2:], stride, strict=True))
    parts = []
    for start in range(0, columns, _COLUMNS):
        part = weight[..., start : start + _COLUMNS]
        left, width = before[1] - start, part.shape[3]
        right = last_column + width - left - x.shape[3]
        bottom = last_row + rows - before[0] - x.shape[2]
        if max(-left, 0) + max(-right, 0) >= x.shape[3]:  # these columns meet nothing but padding
            parts.append(torch.zeros_like(part))
            continue
        seen = F.pad(x, (left, right, before[0], bottom))  # what is negative is cut off
        parts.append(_gradient(slope, seen, part, stride, (0, 0), 1))
    return torch.cat(parts, dim=3)
