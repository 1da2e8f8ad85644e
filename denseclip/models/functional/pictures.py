"""Pictures between [0, 1] and what a network's weights expect, and padding to whole patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
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


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Zeros (black, in pictures that are not normalised) at the right and bottom until both sides are multiples.

    Args:
        images: Pictures.
        multiple: Side of a patch.

    Shape:
        - images: :math:`(N, 3, H, W)`; result: the sides rounded up to multiples
    """
    height, width = images.shape[-2:]
    extra = (0, -width % multiple, 0, -height % multiple)
    return F.pad(images, extra) if any(extra) else images


def _channel(like: Tensor, values: Sequence[float]) -> Tensor:
    return torch.tensor(tuple(values), dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
