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
    if not exporting() and source == (height, width):  # a graph is for every size, that of its example or not
        return table
    special, own = table[:prefix], table[prefix:].unflatten(0, source)
    if mode == 'crop':
        if height > source[0] or width > source[1]:
            raise ValueError(
                f'a {height}x{width} feature map is larger than the {source[0]}x{source[1]} grid of its positions: '
                "raise input_resolution, or interpolate (pos_resize='bilinear')."
            )
        return torch.cat([special, own[:height, :width].flatten(0, 1)])
    if exporting():
        resized = resize_by_matrices(own.float(), (height, width), mode, antialias, offset)
        return torch.cat([special, resized.flatten(0, 1).to(table.dtype)])
    image = own.permute(2, 0, 1).unsqueeze(0)
    if offset:
        scale = ((height + offset) / source[0], (width + offset) / source[1])
        resized = F.interpolate(image.float(), scale_factor=scale, mode=mode, align_corners=False)
    else:
        size = (height, width)
        resized = F.interpolate(image.float(), size=size, mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([special, resized.squeeze(0).flatten(1).transpose(0, 1).to(table.dtype)])


def exporting() -> bool:
    """Whether a graph is being made, whose sizes stay free."""
    return bool(getattr(torch.compiler, 'is_exporting', bool)())


def resize_by_matrices(
    own: Tensor, grid: tuple[int, int], mode: str = 'bilinear', antialias: bool = False, offset: float = 0.0
) -> Tensor:
    """A grid of vectors at another size by two products: runtimes resize with other rules than PyTorch's.

    Args:
        own: The vectors.
        grid: Wanted height and width; sizes of a graph, which are known when it runs.
        mode: ``'bilinear'`` or ``'bicubic'``.
        antialias: See :func:`resize_positions`.
        offset: See :func:`resize_positions`.

    Shape:
        - own: :math:`(..., s_1, s_2, C)`; result: :math:`(..., h, w, C)`
    """
    height, width, rows, columns = (_counted(side, own) for side in (*grid, *own.shape[-3:-1]))
    height, width, rows, columns = height[:, None], width[:, None], rows[None], columns[None]
    down, across = (
        resizing_matrix(places, cells, mode, antialias, offset) for places, cells in ((height, rows), (width, columns))
    )
    if offset:  # a grid that fits already is not moved
        fits = (height[-1, 0] == rows[0, -1]) & (width[-1, 0] == columns[0, -1])
        down = torch.where(fits, (height == rows).to(down.dtype), down)
        across = torch.where(fits, (width == columns).to(across.dtype), across)
    return torch.einsum('hs,...swc->...hwc', down, torch.einsum('wt,...stc->...swc', across, own))


def _counted(side: int, like: Tensor) -> Tensor:
    """``0 .. side - 1``; a range of a free size would have another size, of which nobody knows that it is the same."""
    return torch.ones(side, dtype=like.dtype, device=like.device).cumsum(0) - 1


def resizing_matrix(places: Tensor, cells: Tensor, mode: str, antialias: bool = False, offset: float = 0.0) -> Tensor:
    """How PyTorch resizes along one axis, as a matrix whose rows add up to one.

    Args:
        places: ``0 .. out - 1`` for an axis of length ``out`` afterwards; sizes of graphs are known when they run.
        cells: ``0 .. side - 1`` for an axis of length ``side`` now.
        mode: ``'bilinear'`` or ``'bicubic'``.
        antialias: See :func:`resize_positions`.
        offset: See :func:`resize_positions`.

    Shape:
        - places: :math:`(out, 1)`; cells: :math:`(1, side)`; result: :math:`(out, side)`
    """
    last = cells.shape[1] - 1
    step = cells.shape[1] / (places[-1] + 1 + offset)
    if antialias:
        stretch = step.clamp_min(1)
        support = (1.0 if mode == 'bilinear' else 2.0) * stretch
        centre = (places + 0.5) * step
        near = (cells >= (centre - support + 0.5).floor()) & (cells < (centre + support + 0.5).floor())
        distance = ((cells - centre + 0.5) / stretch).abs()
        weights = (1 - distance).clamp_min(0) if mode == 'bilinear' else _cubic(distance, -0.5)
        weights = weights * near
        return weights / weights.sum(dim=1, keepdim=True)
    at = (places + 0.5) * step - 0.5
    if mode == 'bilinear':
        return (1 - (at.clamp(0, last) - cells).abs()).clamp_min(0)
    low, taps = at.floor(), torch.arange(-1, 3, dtype=at.dtype, device=at.device)[:, None, None]
    return (_cubic((at - low - taps).abs(), -0.75) * ((low + taps).clamp(0, last) == cells)).sum(dim=0)


def _cubic(distance: Tensor, sharpness: float) -> Tensor:
    """Keys' kernel at distances of 0 or more."""
    a, d = sharpness, distance
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, inner, torch.where(d < 2, outer, torch.zeros_like(d)))


def stretch_positions(table: Tensor, keep: int = 20, ratio: int = 4) -> Tensor:
    """Positions of a text tower for longer texts: the first stay, between the others new ones are put.

    The last interval is continued beyond its end, so that the last position has as many successors as the others.

    Args:
        table: Positions of a text tower.
        keep: How many stay; short texts use hardly more, so that these are well trained.
        ratio: How many take the place of each other one.

    Raises:
        ValueError: If fewer than two positions are left to be stretched, or the ratio is none.

    Shape:
        - table: :math:`(L, W)`; result: :math:`(keep + ratio (L - keep), W)`

    Source: Zhang et al., "Long-CLIP: Unlocking the Long-Text Capability of CLIP", ECCV 2024, section 3.2.
    """
    if ratio < 1 or not 0 <= keep <= len(table) - 2:
        raise ValueError(
            f'keep={keep}, ratio={ratio}: of {len(table)} positions keep at most {len(table) - 2}, and put at least 1 '
            'in the place of each other one.'
        )
    here = table[keep:]
    step = here.diff(dim=0)
    step = torch.cat([step, step[-1:]])
    parts = torch.arange(ratio, dtype=table.dtype, device=table.device)[:, None] / ratio
    return torch.cat([table[:keep], (here[:, None] + parts * step[:, None]).flatten(0, 1)])
