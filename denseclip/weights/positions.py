"""Learned position tables on another grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POSITION_MODES = ('bilinear', 'bicubic', 'crop')


def resize_positions(
    table: Tensor, grid: tuple[int, int], *, prefix: int = 1, mode: str = 'bilinear', antialias: bool = False
) -> Tensor:
    """Fit a table of learned positions to another grid; rows of special tokens are kept as they are.

    Args:
        table: Positions of a square grid after ``prefix`` special rows.
        grid: Wanted height and width in tokens.
        prefix: How many rows belong to special tokens.
        mode: ``'bilinear'`` or ``'bicubic'`` interpolation (``align_corners=False``), or ``'crop'``: the top-left part
            of the grid (DenseCLIP's detectors).
        antialias: Low-pass filter when shrinking.

    Raises:
        ValueError: If a crop would be larger than the grid, or the mode is unknown.

    Shape:
        - table: :math:`(prefix + s^2, C)`
        - result: :math:`(prefix + hw, C)`
    """
    if mode not in POSITION_MODES:
        raise ValueError(f"unknown position mode '{mode}'; choose from {', '.join(POSITION_MODES)}.")
    height, width = grid
    side = round((table.shape[0] - prefix) ** 0.5)
    if (side, side) == (height, width):
        return table
    special, square = table[:prefix], table[prefix:].reshape(side, side, -1)
    if mode == 'crop':
        if max(height, width) > side:
            raise ValueError(
                f'a {height}x{width} feature map is larger than the {side}x{side} grid of its positions: '
                "raise input_resolution, or interpolate (pos_resize='bilinear')."
            )
        return torch.cat([special, square[:height, :width].flatten(0, 1)])
    image = square.permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(image.float(), size=(height, width), mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([special, resized.squeeze(0).flatten(1).transpose(0, 1).to(table.dtype)])
