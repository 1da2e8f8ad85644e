"""Correlation-guided pooling: each place takes the mean of the features at the places that it resembles.

Source: CLIP-DINOiser (Wysoczańska et al., ECCV 2024), section 3.2, equations 2-4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

POOL_EPS = 1e-6


def correlations(features: Tensor) -> Tensor:
    """Cosines between all pairs of places of a feature map.

    Args:
        features: Feature map, of any length per place.

    Returns:
        Cosines in [-1, 1]; the second axis is the place that asks (row by row), the last two where it looks.

    Shape:
        - features: :math:`(N, C, h, w)`
        - result: :math:`(N, hw, h, w)`
    """
    units = F.normalize(features, dim=1).flatten(2)
    return (units.transpose(1, 2) @ units).unflatten(2, features.shape[-2:])


def suppress_weak(correlation: Tensor, gamma: float | None) -> Tensor:
    """Set correlations below ``gamma`` to zero.

    Args:
        correlation: Cosines of any shape.
        gamma: Threshold; None and 0 leave everything as it is, negative correlations included.
    """
    return correlation.masked_fill(correlation < gamma, 0.0) if gamma else correlation


def correlation_pool(features: Tensor, correlation: Tensor, eps: float = POOL_EPS) -> Tensor:
    """Weighted mean of features, ``f'_p = sum_q c_pq f_q / (sum_q c_pq + eps)``.

    Args:
        features: Features, not normalised; resized bilinearly when their grid is another one.
        correlation: Weights; a place with none gets zeros.
        eps: Added to the sum of the weights.

    Shape:
        - features: :math:`(N, C, h', w')`
        - correlation: :math:`(N, hw, h, w)`
        - result: :math:`(N, C, h, w)`
    """
    grid = correlation.shape[-2:]
    if features.shape[-2:] != grid:
        features = F.interpolate(features, size=grid, mode='bilinear', align_corners=False)
    weights = correlation.flatten(2)
    pooled = features.flatten(2) @ weights.transpose(1, 2)
    return (pooled / (weights.sum(dim=2) + eps).unsqueeze(1)).unflatten(2, grid)
