"""How near patches lie to each other: a Gaussian of their distance, from 1 for the same place down to 0."""

from __future__ import annotations

import torch
from torch import Tensor


def near_by_axis(places: Tensor, others: Tensor, std: float) -> Tensor:
    """``exp(-(a - b)^2 / (2 std^2))`` of places along one axis.

    Shape:
        - places: :math:`(m)`; others: :math:`(n)`; result: :math:`(m, n)`
    """
    return torch.exp(-((places[:, None] - others) ** 2) / (2 * std**2))


def near_patches(
    grid: tuple[int, int],
    std: float,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    device: torch.device | None = None,
) -> Tensor:
    """``exp(-|p_i - p_j|^2 / (2 std^2))`` of the patches of a grid and of those of another one of its size, (hw, hw).

    Args:
        grid: Height and width in patches.
        std: Standard deviation in patches.
        shift: How far the other grid lies down and to the right, in patches.
        device: Of the result, which is float32.
    """
    # The Gaussian is separable: one small table per axis, and their outer product.
    lines = (torch.arange(n, dtype=torch.float32, device=device) for n in grid)
    by_row, by_column = (near_by_axis(line, line + far, std) for line, far in zip(lines, shift, strict=True))
    return torch.einsum('ac,bd->abcd', by_row, by_column).flatten(2).flatten(0, 1)
