"""Layers of MMSegmentation's and MMDetection's Swin transformer whose sizes stay free in a graph.

The layers pad, cut and count windows by Python's numbers, and an export keeps those of its example. Here a map is
gathered by rows and columns: what is gathered has the length of its index, whatever the picture.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BLOCKED = -100.0  # as the layers say it


class WholePadding(nn.Module):
    """``AdaptivePadding`` at the lower and right corner, before a layer whose kernel is no smaller than its stride.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        spread = zip(layer.kernel_size, layer.dilation, strict=True)
        self.reach = [(kernel - 1) * dilation + 1 for kernel, dilation in spread]
        self.stride = tuple(layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W'), of which the layer after it loses nothing."""
        sides = zip(x.shape[2:], self.stride, self.reach, strict=True)
        down, across = ((side - 1) // step * step + reach - side for side, step, reach in sides)
        return F.pad(x, (0, across, 0, down))


class FreePatchMerging(nn.Module):
    """``PatchMerging``: four neighbours become one token; they are picked by a convolution of ones.

    Args:
        layer: The layer; its parameters are shared.
    """

    picks: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.norm, self.reduction = layer.norm, layer.reduction
        self.padding = None if layer.adap_padding is None else WholePadding(layer.adap_padding)
        kernel = layer.sampler.kernel_size
        self.settings = {key: getattr(layer.sampler, key) for key in ('stride', 'padding', 'dilation')}
        taps = kernel[0] * kernel[1]
        picks = torch.eye(taps, device='cpu').reshape(taps, 1, *kernel).repeat(layer.in_channels, 1, 1, 1)
        self.register_buffer('picks', picks)

    def forward(self, x: Tensor, input_size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (N, H W, C) to (N, H' W', C'), and the new height and width."""
        maps = x.transpose(1, 2).unflatten(2, input_size)
        maps = maps if self.padding is None else self.padding(maps)
        found = F.conv2d(maps, self.picks, groups=maps.shape[1], **self.settings)
        tokens = found.flatten(2).transpose(1, 2)
        tokens = tokens if self.norm is None else self.norm(tokens)
        return self.reduction(tokens), (found.shape[2], found.shape[3])


class FreeWindowAttention(nn.Module):
    """``ShiftWindowMSA``: attention within windows, every second time shifted by half of one.

    Args:
        layer: The layer; its parameters are shared.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention, self.drop = layer.w_msa, layer.drop
        self.window, self.shift = int(layer.window_size), int(layer.shift_size)

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens (N, H W, C) to tokens."""
        height, width = hw_shape
        window, own = self.window, self.attention
        down, across = (height + window - 1) // window, (width + window - 1) // window
        maps = query.unflatten(1, hw_shape)
        maps = F.pad(maps, (0, 0, 0, across * window - width, 0, down * window - height))
        if self.shift:
            maps = _gathered(maps, 1, down * window, self.shift, down * window)
            maps = _gathered(maps, 2, across * window, self.shift, across * window)
        count, channels, heads = query.shape[0], query.shape[2], own.num_heads
        parts = maps.unflatten(2, (across, window)).unflatten(1, (down, window)).transpose(2, 3)
        tokens = parts.reshape(count, down * across, window * window, channels)
        q, k, v = own.qkv(tokens).unflatten(3, (3, heads, channels // heads)).permute(3, 0, 1, 4, 2, 5)
        scores = (q * own.scale) @ k.transpose(-2, -1) + self._bias()
        if self.shift:
            scores = scores + self._blocked(down, across, query)[None, :, None]
        mixed = own.proj((scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(3))
        maps = mixed.reshape(count, down, across, window, window, channels).transpose(2, 3)
        maps = maps.flatten(3, 4).flatten(1, 2)
        maps = _gathered(maps, 1, height, -self.shift, down * window)
        maps = _gathered(maps, 2, width, -self.shift, across * window)
        return self.drop(own.proj_drop(maps.flatten(1, 2)))

    def _bias(self) -> Tensor:
        """Of the places of a window to each other, (heads, L, L)."""
        own, length = self.attention, self.window * self.window
        table = own.relative_position_bias_table[own.relative_position_index.flatten()]
        return table.reshape(length, length, own.num_heads).permute(2, 0, 1)

    def _blocked(self, down: int, across: int, like: Tensor) -> Tensor:
        """What keeps apart places that only the shift has brought together, (windows, L, L)."""
        rows, columns = (self._parts(number, like.device) for number in (down, across))
        part = rows[:, None, :, None] * 3 + columns[None, :, None, :]
        part = part.reshape(down * across, self.window * self.window)
        return (part[:, None] != part[:, :, None]).to(like.dtype) * _BLOCKED

    def _parts(self, number: int, device: torch.device) -> Tensor:
        """Which of three stretches each row belongs to, (windows, window)."""
        place = torch.arange(number * self.window, device=device)
        last, moved = number * self.window - self.window, number * self.window - self.shift
        return ((place >= last).long() + (place >= moved).long()).reshape(number, self.window)


def _gathered(maps: Tensor, axis: int, length: int, start: int, whole: int) -> Tensor:
    """``length`` rows (or columns) of a map that goes round, from ``start`` on."""
    place = torch.arange(length, device=maps.device) + start
    # Not a remainder, which the exporter cannot write for a free divisor.
    place = place - whole * (place >= whole).long() + whole * (place < 0).long()
    return maps.index_select(axis, place)
