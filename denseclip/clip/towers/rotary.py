"""Rotary positions of timm's trunks on another grid than the one that a trunk was built for."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

ROTARY_MODES = ('fit', 'count')


def rotary_table(rope: Any, grid: tuple[int, int], mode: str = 'fit') -> Tensor:
    """Sines and cosines for every patch of a grid, as a trunk's blocks take them.

    timm keeps one table, for the grid that a trunk was built for, whatever grid is asked for. Here a copy of the module
    makes the table; the module itself is left alone.

    A patch in column x of w columns is turned by ``(x + offset) / w * r`` times each frequency ``10000 ** -(i / n)``,
    rows likewise. The reference r belongs to the weights: 16 x 16 for EVA02 (at every patch size and picture size), for
    PE-Core the grid that the weights are named for (24 x 24 for L-14-336), where the offset is 1 if there is a class
    token.

    Args:
        rope: timm's module, such as ``RotaryEmbeddingCat``.
        grid: Rows and columns of patches.
        mode: ``'fit'`` squeezes or stretches positions to the reference grid, as EVA02's authors and timm do.
            ``'count'`` goes on counting patches, ``x + offset``, as PE's authors do. The two agree on the reference
            grid.

    Returns:
        (hw, 2 d) for heads of d channels, in the number type of the module's own table.

    Raises:
        ValueError: If the module's positions cannot be made for another grid.
    """
    own = rope.feat_shape
    if own is not None and tuple(own) == grid and (mode == 'fit' or fits_reference(rope, grid)):
        return rope.get_embed()
    if not hasattr(rope, 'update_feat_shape') or next(rope.parameters(), None) is not None:
        raise ValueError(
            f'{type(rope).__name__} learns its rotary positions for one grid, {own}: resize pictures to that size.'
        )
    other = copy.deepcopy(rope)
    if mode == 'count':
        other.ref_feat_shape = None
    if own is None:
        return other.get_embed(shape=list(grid))
    other.feat_shape = [0, 0]  # timm makes no new table for the grid that it believes to have
    other.update_feat_shape(list(grid))
    return other.get_embed()


def fits_reference(rope: Any, grid: tuple[int, int]) -> bool:
    """Whether positions on this grid are whole numbers in both modes."""
    return rope.ref_feat_shape is None or tuple(rope.ref_feat_shape) == grid
