"""Sine position codes of feature maps."""

from __future__ import annotations

from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor


def sine_positions(features: Tensor, dim: int | None = None) -> Tensor:
    """Position code of a map, the same for all pictures of a batch; padding counts as picture.

    The first half of the channels encodes y, the second x, sine and cosine in turn (Carion et al., DETR, appendix
    A.4), positions scaled to (0, 2π].

    Args:
        features: Map, for its size and device.
        dim: Channels of the code, even; the map's own by default.

    Shape:
        - features: :math:`(N, C, h, w)`; result: :math:`(1, dim, h, w)`, float32
    """
    channels = features.shape[1] if dim is None else dim
    return SinePositionalEncoding(channels // 2, normalize=True)(None, features[:1])
