"""Layers that would put the example's size into a graph, replaced by ones that do not.

Two layers of other packages compute sizes with Python numbers. An export keeps the numbers of its example picture, and
says nothing: other sizes give wrong scores at the border, or everywhere.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from mmseg.models.utils.wrappers import Upsample
from torch import Tensor, nn

from denseclip.core.depthwise import pads_as_tensorflow
from denseclip.export.errors import ExportError
from denseclip.export.swin import FreePatchMerging, FreeWindowAttention, WholePadding

ModuleT = TypeVar('ModuleT', bound=nn.Module)


class SameConv(nn.Module):
    """TensorFlow's convolution with padding "same", in ONNX one operator that pads by itself.

    Such layers compute the padding with Python's numbers.

    Args:
        conv: timm's ``Conv2dSame``, or the suite's depthwise one; its parameters are shared.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv: Any = conv

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / s), ceil(W / s))."""
        conv = self.conv
        if not torch.onnx.is_in_onnx_export():
            return F.conv2d(self._padded(x), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
        parts = [x, conv.weight] if conv.bias is None else [x, conv.weight, conv.bias]
        down, across = conv.stride
        # ceil(h / s), said so that floors of floors become one: symbolic sizes stay short, and an export takes seconds.
        size = (x.shape[2] - 1) // down + 1, (x.shape[3] - 1) // across + 1
        shape = (x.shape[0], conv.out_channels, *size)
        settings = {
            'auto_pad': 'SAME_UPPER',
            'strides': list(conv.stride),
            'dilations': list(conv.dilation),
            'group': conv.groups,
            'kernel_shape': list(conv.kernel_size),
        }
        return torch.onnx.ops.symbolic('Conv', parts, settings, dtype=x.dtype, shape=shape)

    def _padded(self, x: Tensor) -> Tensor:
        """With zeros around it, in an expression that sizes of graphs cancel out of."""
        conv = self.conv
        spread = zip(x.shape[2:], conv.kernel_size, conv.stride, conv.dilation, strict=True)
        reaches = [(side, (kernel - 1) * gap + 1, step) for side, kernel, step, gap in spread]
        lacking = [((side - 1) // step * step + reach - side, reach < step) for side, reach, step in reaches]
        down, across = (torch.sym_max(more, 0) if often_none else more for more, often_none in lacking)
        room: Any = (across // 2, across - across // 2, down // 2, down - down // 2)  # numbers or symbols
        return F.pad(x, room)


class WholeUpsample(nn.Module):
    """MMSegmentation's ``Upsample`` by a whole factor, its size computed in whole numbers.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: Upsample) -> None:
        super().__init__()
        self.factor = int(layer.scale_factor)
        self.mode, self.align_corners = layer.mode, layer.align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, factor H, factor W)."""
        size = (x.shape[2] * self.factor, x.shape[3] * self.factor)
        return F.interpolate(x, size=size, mode=self.mode, align_corners=self.align_corners)


def ready_for_export(model: ModuleT) -> ModuleT:
    """A copy of a model, in evaluation mode, whose layers take their sizes from the picture.

    Raises:
        ExportError: If a layer has no substitute.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            new = _substitute(child)
            if new is not None:
                setattr(module, name, new)
        holder: Any = module
        if hasattr(module, 'channels_last'):  # a layout in memory, which graphs do not know
            holder.channels_last = False
        if getattr(module, 'inplace', False):  # is taken apart into many steps, each over symbolic sizes
            holder.inplace = False
    return copied


def _substitute(layer: nn.Module) -> nn.Module | None:
    if pads_as_tensorflow(layer):
        return SameConv(layer)
    if isinstance(layer, Upsample) and not layer.size:
        factor: Any = layer.scale_factor
        if isinstance(factor, tuple) or factor != int(factor):
            raise ExportError(f'a layer enlarges by {factor}, which graphs of free size cannot express.')
        return WholeUpsample(layer)
    return _of_swin(layer)


def _of_swin(layer: Any) -> nn.Module | None:
    """MMSegmentation and MMDetection have layers of the same names each; the second is not imported for that."""
    kind = type(layer).__name__ if type(layer).__module__.startswith(('mmseg.', 'mmdet.')) else ''
    if kind == 'ShiftWindowMSA':
        return FreeWindowAttention(layer)
    if kind == 'PatchMerging':
        return FreePatchMerging(layer)
    if kind == 'AdaptivePadding' and layer.padding == 'corner' and tuple(layer.kernel_size) >= tuple(layer.stride):
        return WholePadding(layer)
    return None
