"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, equation 3), sizes known on the host.

mmcv's operator takes the sizes of the levels as a tensor and reads them back from the device in every call. Here they
are Python integers, so nothing waits for the device, and shapes are known on ``meta`` and under fake tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Size = tuple[int, int]


def deformable_attention(value: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted bilinear samples of all levels; outside of a level there are zeros.

    The samples of a level are taken again in the backward pass instead of being kept: they are ``points`` times as
    large as everything else a layer stores.

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
    levels = value.split([height * width for height, width in sizes], dim=1)
    keep = torch.is_grad_enabled() and (value.requires_grad or locations.requires_grad or weights.requires_grad)
    total: Tensor | None = None
    for index, (level, size) in enumerate(zip(levels, sizes, strict=True)):
        inputs = (level, locations[:, :, :, index], weights[:, :, :, index], size)
        if keep:
            sampled = checkpoint(_attend, *inputs, use_reentrant=False, preserve_rng_state=False)
        else:
            sampled = _attend(*inputs)
        total = sampled if total is None else total + sampled
    assert total is not None, 'deformable attention needs at least one level'
    return total.unflatten(0, (value.shape[0], -1)).flatten(1, 2).transpose(1, 2)


def _attend(value: Tensor, locations: Tensor, weights: Tensor, size: Size) -> Tensor:
    """One level: (N, hw, heads, D), (N, L, heads, P, 2), (N, L, heads, P) to (N*heads, D, L)."""
    picture = value.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, size)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    sampled = F.grid_sample(picture, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return (sampled * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(dim=-1)


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
        scale = offsets.new_tensor([(width, height) for height, width in sizes])
        return centre + offsets / scale[:, None]
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
        y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
        x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing='ij')
        grids.append(torch.stack([columns, rows], dim=-1).flatten(0, 1))
    return torch.cat(grids)
