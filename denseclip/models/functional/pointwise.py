"""1 x 1 convolutions as matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of stride 1.

    On a CPU it is a matrix product in the layout that the map has: with one thread PyTorch's convolution takes its
    slow path for it, and copies maps whose channels lie next to each other.

    Args:
        conv: The convolution.
        x: Its input.

    Shape:
        - x: :math:`(N, C, h, w)`; result: :math:`(N, C', h, w)`
    """
    if x.device.type != 'cpu':
        return F.conv2d(x, conv.weight, conv.bias)
    weight, bias = conv.weight.flatten(1), conv.bias
    if x.is_contiguous(memory_format=torch.channels_last) or not x.is_contiguous():
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
    out = (weight @ x.flatten(2)).unflatten(2, x.shape[-2:])
    return out if bias is None else out + bias[:, None, None]
