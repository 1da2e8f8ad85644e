"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, equation 3), sizes known on the host.

mmcv's module takes the sizes of the levels as a tensor and reads them back from the device in every call. Here they
are Python integers, so nothing waits for the device, and shapes are known on ``meta`` and under fake tensors. On a GPU
mmcv's kernel does the work where mmcv was compiled; elsewhere :mod:`.bilinear_bags` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision
from denseclip.weights.positions import exporting

from .bilinear_bags import Size, bilinear_bags

_PICTURES_AT_ONCE = 64  # mmcv's own default


def deformable_attention(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted bilinear samples of all levels; outside of a level there are zeros.

    Args:
        value: Values of all levels, one level after another, row by row.
        sizes: Height and width of each level.
        locations: Where to sample, ``(x, y)`` in units of the level's width and height; pixel centres are at
            ``(i + 0.5) / size``.
        weights: Weight of each sample.

    Shape:
        - value: :math:`(N, S, heads, D)`, S pixels in all levels together
        - locations: :math:`(N, L, heads, levels, points, 2)`; weights: :math:`(N, L, heads, levels, points)`
        - result: :math:`(N, L, heads * D)`
    """
    if uses_mmcv_kernel(value):
        return _by_mmcv(value, sizes, locations, weights)
    extent = _extents(sizes, locations).float()
    return bilinear_bags(value, sizes, torch.addcmul(extent.new_tensor(-0.5), locations.float(), extent), weights)


def attend_around(value: Tensor, sizes: Sequence[Size], reference: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """:func:`deformable_attention` at :func:`sampling_locations`; offsets in pixels are taken as they are.

    Args:
        value: See there.
        sizes: See there.
        reference: See :func:`sampling_locations`.
        offsets: See :func:`sampling_locations`.
        weights: See :func:`deformable_attention`.
    """
    if exporting() and reference.shape[-1] == 2:
        return _by_grids(value, sizes, reference, offsets, weights)
    if reference.shape[-1] != 2 or uses_mmcv_kernel(value):
        return deformable_attention(value, sizes, sampling_locations(reference, offsets, sizes), weights)
    centre = reference * reference.new_tensor([(width, height) for height, width in sizes]) - 0.5
    # Repeated for each point: additions along two numbers are slow ones.
    around = centre[:, :, None, :, None].expand(-1, -1, -1, -1, offsets.shape[4], -1).contiguous()
    return bilinear_bags(value, sizes, around + offsets, weights)


def _by_grids(value: Tensor, sizes: Sequence[Size], reference: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """The same by operators that every runtime has; sizes are those of a graph, which are known when it runs."""
    start, total = 0, None
    for level, (height, width) in enumerate(sizes):
        values = value[:, start : start + height * width].permute(0, 2, 3, 1).flatten(0, 1)
        start = start + height * width
        around = offsets[:, :, :, level] / torch.stack([_side(width, value), _side(height, value)])
        places = 2 * (reference[:, :, None, level, None] + around) - 1
        planes = values.unflatten(2, (height, width))
        seen = F.grid_sample(planes, places.transpose(1, 2).flatten(0, 1), align_corners=False)
        seen = seen.unflatten(0, (value.shape[0], value.shape[2]))
        part = (seen * weights[:, :, :, level].transpose(1, 2)[:, :, None]).sum(-1)
        total = part if total is None else total + part
    assert total is not None
    return total.permute(0, 3, 1, 2).flatten(2)


def _side(side: int, like: Tensor) -> Tensor:
    """A size as a number of the graph."""
    return torch.ones(side, dtype=like.dtype, device=like.device).sum()


def uses_mmcv_kernel(value: Tensor) -> bool:
    """Whether mmcv's CUDA kernel does the work: it was compiled, and the values are on a GPU."""
    return value.is_cuda and not torch.compiler.is_compiling() and _mmcv_is_compiled()


@lru_cache(maxsize=1)
def _mmcv_is_compiled() -> bool:
    extension = importlib.import_module('mmcv._ext')
    return not getattr(extension, 'IS_DENSECLIP_FALLBACK', False)


def _by_mmcv(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    shapes, starts = _on_device(tuple(sizes), value.device)
    # In float32 also where values are not: the kernel knows no bfloat16, and positions in float16 miss their pixels.
    parts = [
        part.to(torch.promote_types(part.dtype, torch.float32)).contiguous() for part in (value, locations, weights)
    ]
    operator: Any = MultiScaleDeformableAttnFunction
    with full_precision(value.device.type):
        out = operator.apply(parts[0], shapes, starts, *parts[1:], _step(value.shape[0]))
    return out.to(value.dtype)


def _step(batch: int) -> int:
    """Pictures that the kernel takes at a time: it wants a divisor of the batch."""
    return next(step for step in range(min(batch, _PICTURES_AT_ONCE), 0, -1) if batch % step == 0)


@lru_cache(maxsize=64)
def _on_device(sizes: tuple[Size, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sizes of levels and where they start, as the kernel wants them; copied once."""
    pixels = [height * width for height, width in sizes]
    starts = [sum(pixels[:level]) for level in range(len(sizes))]
    return torch.tensor(sizes, device=device), torch.tensor(starts, device=device)


def _extents(sizes: Sequence[Size], like: Tensor) -> Tensor:
    """Width and height of each level, (levels, 1, 2)."""
    return like.new_tensor([(width, height) for height, width in sizes])[:, None]


def sampling_locations(reference: Tensor, offsets: Tensor, sizes: Sequence[Size]) -> Tensor:
    """Where each head of each query looks.

    Args:
        reference: Points ``(x, y)``, or boxes ``(x, y, w, h)``, in units of the picture, one per level.
        offsets: Predicted offsets: in pixels of the level for points; for boxes in units of half a box side divided
            by the number of points.
        sizes: Height and width of each level.

    Raises:
        ValueError: If the references are neither points nor boxes.

    Shape:
        - reference: :math:`(N, L, levels, 2)` or :math:`(N, L, levels, 4)`; N = 1 serves all pictures
        - offsets and result: :math:`(N, L, heads, levels, points, 2)`
    """
    centre = reference[:, :, None, :, None, :2]
    if reference.shape[-1] == 2:
        return centre + offsets / _extents(sizes, offsets)
    if reference.shape[-1] == 4:
        return centre + offsets / offsets.shape[-2] * reference[:, :, None, :, None, 2:] * 0.5
    raise ValueError(f'reference points have 2 numbers (x, y) or 4 (x, y, w, h), got {reference.shape[-1]}.')


def pixel_centres(sizes: Sequence[Size], like: Tensor) -> Tensor:
    """Centres ``(x, y)`` of the pixels of all levels in units of the picture, row by row.

    Args:
        sizes: Height and width of each level.
        like: Gives device and type.

    Shape:
        - result: :math:`(S, 2)`, S pixels in all levels together
    """
    grids = []
    for height, width in sizes:
        # Counted, not ranged: in a graph a range has a size of its own, of which nobody knows that it is the same.
        y, x = (
            (torch.ones(side, device=like.device, dtype=like.dtype).cumsum(0) - 0.5) / side for side in (height, width)
        )
        rows, columns = torch.meshgrid(y, x, indexing='ij')
        grids.append(torch.stack([columns, rows], dim=-1).flatten(0, 1))
    return torch.cat(grids)
