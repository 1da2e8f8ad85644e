"""The 22 views of a picture whose class tokens AnoVL averages into the image score."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATIONS = tuple(math.pi * step / 16 for step in (-4, -3, -2, -1, 1, 2, 3, 4))
"""Radians; on rectangular pictures the authors' matrix also shears, since it is made for a square."""

SHIFTS = (*((0.2 * x, 0.2 * y) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))),
          *((0.1 * x, 0.1 * y) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))))  # fmt: skip
"""Parts of half the picture's width and height."""

QUARTERS = tuple(math.pi / 2 * turns for turns in (1, 2, 3))
GREY = (0.299, 0.587, 0.114)
COUNT = 1 + len(ROTATIONS) + len(SHIFTS) + 2 + len(QUARTERS)


def picture_views(images: Tensor, original: bool = True) -> Tensor:
    """Views of pictures: original, 8 rotations, 8 shifts, mirrored, grey, 3 quarter turns.

    Places from outside are mirrored in. Grey is taken of the normalised channels, as the authors do.

    Source: AnoVL, section 3.3 and its MVTec script; the order is theirs before their shuffling.

    Args:
        images: Normalised pictures.
        original: Whether the picture itself comes first; without it there are 21 views.

    Shape:
        - images: :math:`(N, 3, H, W)`; result: :math:`(N, 22, 3, H, W)`
    """
    count, _, height, width = images.shape
    warps = _warps(height, width).to(device=images.device, dtype=images.dtype)
    places = _places(images) @ warps.transpose(1, 2)[:, None]
    warped = F.grid_sample(
        images[:, None].expand(-1, len(warps), -1, -1, -1).flatten(0, 1),
        places[None].expand(count, -1, -1, -1, -1).flatten(0, 1),
        mode='bilinear',
        padding_mode='reflection',
        align_corners=True,
    ).unflatten(0, (count, len(warps)))
    weights = images.new_tensor(GREY)[:, None, None]
    grey = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
    first = len(ROTATIONS) + len(SHIFTS)
    views = [warped[:, :first], images.flip(-1)[:, None], grey[:, None], warped[:, first:]]
    return torch.cat([images[:, None], *views] if original else views, dim=1)


def _places(images: Tensor) -> Tensor:
    """Normalised coordinates of all pixels and a one, (H, W, 3), the corners at -1 and 1."""
    column, row = torch.ones_like(images[0, 0]), torch.ones_like(images[0, 0])
    column, row = (
        2 * (ones.cumsum(axis) - 1) / (ones.sum(axis, keepdim=True) - 1).clamp_min(1) - 1
        for ones, axis in ((column, 1), (row, 0))
    )
    return torch.stack([column, row, torch.ones_like(row)], dim=-1)


def _warps(height: int, width: int) -> Tensor:
    """Sampling matrices in normalised coordinates, (19, 2, 3): rotations, shifts, quarter turns about the centre."""
    turned = [(math.cos(a), -math.sin(a), math.sin(a), math.cos(a), 0.0, 0.0) for a in ROTATIONS]
    moved = [(1.0, 0.0, 0.0, 1.0, x, y) for x, y in SHIFTS]
    quarter = [(math.cos(a), -math.sin(a), math.sin(a), math.cos(a), 0.0, 0.0) for a in QUARTERS]
    rows = [[[a, b, x], [c, d, y]] for a, b, c, d, x, y in (*turned, *moved, *quarter)]
    plain = torch.tensor(rows, dtype=torch.float64, device='cpu')
    # A quarter turn keeps its angle in pixels, so the aspect ratio enters here; sizes of a graph are no numbers yet.
    high, wide = (torch.scalar_tensor(side - 1, dtype=torch.float64, device='cpu') for side in (height, width))
    ratio = high.clamp_min(1) / wide.clamp_min(1)
    one = torch.ones_like(ratio)
    factors = torch.stack([one, ratio, one, 1 / ratio, one, one]).unflatten(0, (2, 3))
    return torch.cat([plain[: -len(quarter)], plain[-len(quarter) :] * factors]).float()
