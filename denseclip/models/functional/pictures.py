"""Pictures between [0, 1] and what a network's weights expect."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec


def normalize_pictures(images: Tensor, spec: PreprocessSpec) -> Tensor:
    """Subtract the mean and divide by the standard deviation of a network's weights.

    Args:
        images: RGB in [0, 1].
        spec: What the weights expect.

    Shape:
        - images and result: :math:`(N, 3, H, W)`
    """
    return (images - _channel(images, spec.mean)) / _channel(images, spec.std)


def denormalize_pictures(images: Tensor, spec: PreprocessSpec) -> Tensor:
    """Back to RGB in [0, 1]: the inverse of :func:`normalize_pictures`."""
    return images * _channel(images, spec.std) + _channel(images, spec.mean)


def _channel(like: Tensor, values: Sequence[float]) -> Tensor:
    return torch.tensor(tuple(values), dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
