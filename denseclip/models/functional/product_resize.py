"""Bilinear enlarging as two matrix products: on a CPU, PyTorch's own backward pass of it is many times slower."""

from __future__ import annotations

from functools import lru_cache

import torch
from mmseg.models.utils import Upsample
from torch import Tensor

from denseclip.core.placement import Size, resize, size_of
from denseclip.core.values import has_values

from .bilinear_matrix import bilinear_matrix


def product_resize(planes: Tensor, size: Size) -> Tensor:
    """:func:`~denseclip.core.placement.resize`, within rounding, and faster where gradients are wanted on a CPU.

    Args:
        planes: Maps; others than float32 ones on a CPU that need gradients take PyTorch's way.
        size: Height and width of the result.

    Shape:
        - planes: :math:`(N, C, h, w)`; result: :math:`(N, C, H, W)`
    """
    own = planes.device.type == 'cpu' and planes.dtype == torch.float32 and has_values(planes)
    if not own or not planes.requires_grad or torch.compiler.is_compiling() or size_of(planes) == tuple(size):
        return resize(planes, size)
    down, across = resize_matrix(planes.shape[2], size[0]), resize_matrix(planes.shape[3], size[1])
    wide = (planes.flatten(0, 2) @ across.T).unflatten(0, planes.shape[:3])
    return down @ wide


@lru_cache(maxsize=64)
def resize_matrix(length: int, out: int) -> Tensor:
    """The bilinear enlarging of one axis, float32 (out, length) on the CPU."""
    return bilinear_matrix(length, out).float()


class ProductUpsample(Upsample):
    """MMSeg's ``Upsample``, bilinear with ``align_corners=False``, by :func:`product_resize`."""

    @classmethod
    def like(cls, given: Upsample) -> Upsample:
        """The same enlarging; ``given`` itself where it is another kind."""
        plain = given.mode == 'bilinear' and not given.align_corners and isinstance(given.scale_factor, float)
        return cls(scale_factor=given.scale_factor, mode='bilinear', align_corners=False) if plain else given

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (N, C, h, w)."""
        height, width = (int(side * self.scale_factor) for side in x.shape[-2:])
        return product_resize(x, (height, width))
