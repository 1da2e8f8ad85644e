"""Bilinear enlarging as two matrix products: on a CPU, PyTorch's own backward pass of it is many times slower."""

from __future__ import annotations

from collections.abc import Sequence
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
    if not _pays(planes) or size_of(planes) == tuple(size):
        return resize(planes, size)
    down, across = resize_matrix(planes.shape[2], size[0]), resize_matrix(planes.shape[3], size[1])
    wide = (planes.flatten(0, 2) @ across.T).unflatten(0, planes.shape[:3])
    return down @ wide


def add_enlarged(base: Tensor, several: Sequence[tuple[Tensor, Size]]) -> Tensor:
    """A map plus smaller ones, each enlarged to a size of its own and then to that of the map.

    Both steps are one matrix per axis; maps of the same height are added up before their rows are enlarged.

    Args:
        base: What the others are added to, not changed.
        several: Maps and the sizes on their way.

    Shape:
        - base: :math:`(N, C, H, W)`; each map: :math:`(N, C, h, w)`
    """
    height, width = size_of(base)
    if not all(_pays(planes) for planes, _ in several) or base.dtype != torch.float32:
        for planes, size in several:
            base = base + product_resize(product_resize(planes, size), (height, width))
        return base
    wide: dict[tuple[int, int], Tensor] = {}
    for planes, size in several:
        rows, columns = planes.flatten(0, 2), _in_two_steps(planes.shape[3], size[1], width).T
        key = planes.shape[2], size[0]
        wide[key] = torch.addmm(wide[key], rows, columns) if key in wide else rows @ columns
    found = base.flatten(0, 1)
    for (length, via), sums in wide.items():
        down = _in_two_steps(length, via, height)
        found = torch.baddbmm(found, down.expand(len(found), -1, -1), sums.unflatten(0, (len(found), length)))
    return found.view_as(base)


def _pays(planes: Tensor) -> bool:
    """Whether matrix products are the faster way, and possible."""
    own = planes.device.type == 'cpu' and planes.dtype == torch.float32 and has_values(planes)
    return own and planes.requires_grad and not torch.compiler.is_compiling()


@lru_cache(maxsize=64)
def _in_two_steps(length: int, via: int, out: int) -> Tensor:
    """The enlarging of one axis, then of the result, (out, length); a step to the same length is none."""
    steps = [resize_matrix(a, b) for a, b in ((length, via), (via, out)) if a != b]
    return torch.linalg.multi_dot(steps[::-1]) if len(steps) > 1 else steps[0] if steps else torch.eye(out)


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

    def size_for(self, x: Tensor) -> Size:
        """Height and width of the result for (N, C, h, w)."""
        height, width = (int(side * self.scale_factor) for side in x.shape[-2:])
        return height, width

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (N, C, h, w)."""
        return product_resize(x, self.size_for(x))
