"""Learned position tables on another grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POSITION_MODES = ('bilinear', 'bicubic', 'bicubic+0.1', 'crop')


def resize_positions(
    table: Tensor,
    grid: tuple[int, int],
    *,
    prefix: int = 1,
    mode: str = 'bilinear',
    antialias: bool = False,
    offset: float = 0.0,
    source: tuple[int, int] | None = None,
) -> Tensor:
    """Fit a table of learned positions to another grid; rows of special tokens are kept as they are.

    Args:
        table: Positions of a grid after ``prefix`` special rows.
        grid: Wanted height and width in tokens.
        prefix: How many rows belong to special tokens.
        mode: ``'bilinear'`` or ``'bicubic'`` interpolation to the size (``align_corners=False``); ``'bicubic+0.1'``:
            bicubic by the factor (n + 0.1) / side, which samples at other places (DINO, SCLIP, NACLIP, ClearCLIP,
            ProxyCLIP); or ``'crop'``: the top-left part of the grid (DenseCLIP's detectors).
        antialias: Low-pass filter when shrinking.
        offset: DINO's rule: the grid is sampled at ``(n + offset) / s`` instead of ``n / s`` (0.1 there, against a
            rounding error of old PyTorch versions), which moves every sample a little; its weights expect that. Not
            with ``antialias``.
        source: Height and width of the table's own grid; None, or a grid of another size, means a square one.

    Raises:
        ValueError: If a crop would be larger than the grid, the mode is unknown, or an offset meets ``antialias``.

    Shape:
        - table: :math:`(prefix + s^2, C)`
        - result: :math:`(prefix + hw, C)`
    """
    if mode not in POSITION_MODES:
        raise ValueError(f"unknown position mode '{mode}'; choose from {', '.join(POSITION_MODES)}.")
    if mode == 'bicubic+0.1':
        mode, offset = 'bicubic', 0.1
    if offset and antialias:
        raise ValueError('offset and antialias exclude each other: the rule with an offset has no low-pass filter.')
    height, width = grid
    rows = table.shape[0] - prefix
    side = round(rows**0.5)
    if source is None or source[0] * source[1] != rows:
        source = (side, side)
    if source == (height, width):
        return table
    special, own = table[:prefix], table[prefix:].unflatten(0, source)
    if mode == 'crop':
        if height > source[0] or width > source[1]:
            raise ValueError(
                f'a {height}x{width} feature map is larger than the {source[0]}x{source[1]} grid of its positions: '
                "raise input_resolution, or interpolate (pos_resize='bilinear')."
            )
        return torch.cat([special, own[:height, :width].flatten(0, 1)])
    image = own.permute(2, 0, 1).unsqueeze(0)
    if offset:
        scale = ((height + offset) / source[0], (width + offset) / source[1])
        resized = F.interpolate(image.float(), scale_factor=scale, mode=mode, align_corners=False)
    else:
        size = (height, width)
        resized = F.interpolate(image.float(), size=size, mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([special, resized.squeeze(0).flatten(1).transpose(0, 1).to(table.dtype)])
