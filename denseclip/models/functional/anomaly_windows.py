"""WinCLIP's windows over the patch grid, and how their scores become a map.

Source: WinCLIP (Jeong et al., CVPR 2023), sections 4.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def window_patches(grid: tuple[int, int], side: int, device: torch.device | None = None) -> Tensor:
    """Patch numbers of all square windows, one step apart, row by row; a window holds its patches row by row.

    Args:
        grid: Height and width of the patch grid.
        side: Side of a window in patches.
        device: Of the result.

    Raises:
        ValueError: If the grid is smaller than a window.

    Shape:
        - result: :math:`(side^2, W)`, W windows
    """
    height, width = grid
    if side > min(grid):
        raise ValueError(f'a {height}x{width} patch grid has no window of {side}x{side}: use larger pictures.')
    rows, columns, inside = (torch.arange(n, device=device) for n in (height - side + 1, width - side + 1, side))
    first = (rows[:, None] * width + columns).flatten()
    return (inside[:, None] * width + inside).flatten()[:, None] + first


def harmonic_over_windows(scores: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Every patch's harmonic mean over the windows that hold it.

    Args:
        scores: One per window, in the order of :func:`window_patches`, above 0.
        grid: Height and width of the patch grid.
        side: Side of a window in patches.

    Shape:
        - scores: :math:`(N, W)`; result: :math:`(N, h, w)`
    """
    rows, columns = grid[0] - side + 1, grid[1] - side + 1
    inverse = (1.0 / scores).unflatten(1, (rows, columns))[:, None]
    # A patch meets the windows that start up to side - 1 patches before it: sums over boxes of their first patches.
    # Pooling, since a convolution may spread an infinite 1 / 0 where it does not belong.
    padded = (F.pad(x, (side - 1,) * 4) for x in (inverse, torch.ones_like(inverse)))
    total, count = (F.avg_pool2d(x, side, stride=1) for x in padded)  # of side * side places each: it falls out
    return (count / total)[:, 0]


def harmonic_mean(maps: Sequence[Tensor]) -> Tensor:
    """Element by element, over maps of one shape or broadcastable ones."""
    total = torch.stack([1.0 / m for m in torch.broadcast_tensors(*maps)]).sum(dim=0)
    return len(maps) / total


def visual_association(embeddings: Tensor, references: Tensor) -> Tensor:
    """How far every embedding is from the nearest one of normal pictures: half the cosine distance.

    Args:
        embeddings: Of patches or windows.
        references: The same of K normal pictures.

    Returns:
        Values 0..1.

    Shape:
        - embeddings: :math:`(N, P, E)`; references: :math:`(K, P', E)`; result: :math:`(N, P)`
    """
    cosines = F.normalize(embeddings, dim=-1) @ F.normalize(references.flatten(0, 1), dim=-1).transpose(0, 1)
    return (1 - cosines.amax(dim=-1)).clamp(min=0) / 2  # rounding would leave known places a little below 0
