"""Sine position codes of feature maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000
_EPSILON = 1e-6


def sine_positions(features: Tensor, dim: int | None = None) -> Tensor:
    """Position code of a map, the same for all pictures of a batch; padding counts as picture.

    The first half of the channels encodes y, the second x, sine and cosine in turn (Carion et al., DETR, appendix
    A.4), positions scaled to (0, 2π]. Bit for bit MMDetection's ``SinePositionalEncoding``, whose numbers an export
    takes for those of its example.

    Args:
        features: Map, for its size and device.
        dim: Channels of the code, a multiple of 4; the map's own by default.

    Shape:
        - features: :math:`(N, C, h, w)`; result: :math:`(1, dim, h, w)`, float32
    """
    channels = features.shape[1] if dim is None else dim
    down, across = (_code(side, channels // 2, features.device) for side in features.shape[-2:])
    down = down[:, None].expand(-1, features.shape[3], -1)
    across = across[None].expand(features.shape[2], -1, -1)
    return torch.cat([down, across], dim=2).permute(2, 0, 1)[None]


def _code(side: int, channels: int, device: torch.device) -> Tensor:
    """Code of the places along one axis, (side, channels)."""
    # Counted instead of a range: the length of a graph's range is another unknown.
    places = torch.ones(side, dtype=torch.float32, device=device).cumsum(0)
    places = places / (places[-1] + _EPSILON) * (2 * math.pi)
    numbers = torch.arange(channels, dtype=torch.float32, device=device)
    angles = places[:, None] / _TEMPERATURE ** (2 * (numbers // 2) / channels)
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)
