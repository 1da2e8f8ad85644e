"""Masks in the picture's size on a CPU, tile by tile: only where they are needed, and only those that matter there.

Cutting and resizing are linear and treat rows and columns apart, so a tile of a resized mask is ``A m B^T`` with two
small matrices whose rows are weighted means. A mask's values in a tile therefore lie between the extremes of a few of
its own values, which are known before anything is resized. See :mod:`.mask_inference` for what is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from denseclip.core.placement import Placement, Size, size_of
from denseclip.core.values import has_values

from .bilinear_matrix import bilinear_matrix

LEAST_NUMBERS = 2**20
"""Numbers of full-size masks below which nothing is gained."""

_LARGEST_SIDE = 4096
_MOST_PIXELS, _FEWEST_PIXELS = 2048, 256

Span = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """What one axis of a mask goes through.

    Attributes:
        spans: Consecutive parts of the result.
        enlarge: For each part, the resizing of all patches to what the part is made of.
        finish: For each part, the resizing of that to the part; None where it is the part.
    """

    spans: tuple[Span, ...]
    enlarge: tuple[Tensor, ...]
    finish: tuple[Tensor, ...] | None


@dataclass(frozen=True)
class Tile:
    """A part of a picture.

    Attributes:
        area: Rows and columns of the result.
        low: Lower bound of each mask in it, (Q,).
        high: Upper bound of each, (Q,).
    """

    area: tuple[slice, slice]
    low: Tensor
    high: Tensor
    _strip: Tensor
    _columns: tuple[slice, Tensor]
    _finish: tuple[Tensor, Tensor] | None

    def planes(self, which: Tensor | None = None) -> Tensor:
        """Some masks, or all, where the tile is made: of the tile's size, unless :meth:`finish` has work to do."""
        used, across = self._columns
        strip = self._strip[..., used]
        return (strip if which is None else strip.index_select(0, which)) @ across

    def finish(self, planes: Tensor) -> Tensor:
        """Planes made of those masks, of the tile's size."""
        if self._finish is None:
            return planes
        down, across = self._finish
        return down @ planes @ across


def can_tile(mask_logits: Tensor, geometry: Placement, least: int | None = None) -> bool:
    """Whether masks can be handled by tiles, and whether it is worth while."""
    size = geometry.result_size(mask_logits)
    return (
        mask_logits.device.type == 'cpu'
        and has_values(mask_logits)
        and mask_logits.dtype == torch.float32
        and mask_logits.numel() > 0
        and not (torch.is_grad_enabled() and mask_logits.requires_grad)
        and not torch.compiler.is_compiling()
        and mask_logits.shape[0] * math.prod(size) >= (LEAST_NUMBERS if least is None else least)
        and max(*size, *(geometry.padded or (1, 1))) <= _LARGEST_SIDE
        and torch.get_float32_matmul_precision() == 'highest'
        and bool(torch.stack(mask_logits.aminmax()).isfinite().all())
    )


def mask_tiles(
    mask_logits: Tensor, geometry: Placement, *, planes: int, budget: int, merge_first: bool = False
) -> Iterator[Tile]:
    """Tiles of a picture, row by row.

    Args:
        mask_logits: Masks, float32 on the CPU.
        geometry: How they reach the picture's size.
        planes: Planes of a tile's size that stand in memory at once.
        budget: Bytes that these may take.
        merge_first: Masks are enlarged to the padded input only; the rest of the way is left to :meth:`Tile.finish`.

    Shape:
        - mask_logits: :math:`(Q, h, w)`
    """
    rows, columns = _tile_size(planes * mask_logits.element_size(), budget)
    down, across = _axes(size_of(mask_logits), geometry, (rows, columns), merge_first)
    used = [_between(m) for m in across.enlarge]
    right = [m[:, u].T.contiguous() for m, u in zip(across.enlarge, used, strict=True)]
    for i, (top, bottom) in enumerate(down.spans):
        near = _between(down.enlarge[i])
        patches = mask_logits[:, near]
        low, high = patches.amin(dim=1), patches.amax(dim=1)
        strip = down.enlarge[i][:, near] @ patches
        for j, (start, stop) in enumerate(across.spans):
            last = None
            if down.finish is not None and across.finish is not None:
                last = down.finish[i], across.finish[j].T
            area = slice(top, bottom), slice(start, stop)
            bounds = low[:, used[j]].amin(dim=1), high[:, used[j]].amax(dim=1)
            yield Tile(area, *bounds, strip, (used[j], right[j]), last)


def _tile_size(bytes_per_pixel: int, budget: int) -> Size:
    """Rows and columns, twice as many, whose planes fit into a budget; within what is fast."""
    pixels = min(_MOST_PIXELS, max(_FEWEST_PIXELS, budget // max(1, bytes_per_pixel)))
    rows = 2 ** int(math.log2(pixels / 2) / 2)
    return rows, 2 * rows


@lru_cache(maxsize=16)
def _axes(patches: Size, geometry: Placement, tile: Size, merge_first: bool) -> tuple[Axis, Axis]:
    """Both axes of a placement."""
    padded = geometry.padded or patches
    box = geometry.valid or (0, padded[0], 0, padded[1])
    valid = ((box[0], min(box[1], padded[0])), (box[2], min(box[3], padded[1])))
    out = geometry.out or (valid[0][1] - valid[0][0], valid[1][1] - valid[1][0])
    turned = {None: (), 'vertical': (0,), 'horizontal': (1,), 'diagonal': (0, 1)}[geometry.flip]
    pair = [_axis(patches[i], padded[i], valid[i], out[i], i in turned, tile[i], merge_first) for i in (0, 1)]
    return pair[0], pair[1]


def _axis(patches: int, padded: int, valid: Span, out: int, turned: bool, step: int, merge_first: bool) -> Axis:
    enlarge = bilinear_matrix(patches, padded)[valid[0] : valid[1]]
    finish = bilinear_matrix(valid[1] - valid[0], out)
    finish = finish.flip(0) if turned else finish
    spans = [(start, min(start + step, out)) for start in range(0, out, step)]
    if not merge_first:
        whole = (finish @ enlarge).float()
        return Axis(tuple(spans), tuple(whole[start:stop] for start, stop in spans), None)
    first, last = [], []
    for start, stop in spans:
        near = _between(finish[start:stop])
        first.append(enlarge[near].float())
        last.append(finish[start:stop, near].float().contiguous())
    return Axis(tuple(spans), tuple(first), tuple(last))


def _between(matrix: Tensor) -> slice:
    used = matrix.any(dim=0).nonzero()[:, 0]
    return slice(int(used[0]), int(used[-1]) + 1)
