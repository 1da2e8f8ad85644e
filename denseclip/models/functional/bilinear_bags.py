"""Sums of weighted bilinear samples from several maps, as bags of rows of one table.

``F.embedding_bag`` adds up weighted rows without making them first. A bilinear sample is four rows, so the samples that
a query takes from all maps are one bag, and nothing of the size of the samples is ever made, forward or backward. Each
map stands in the table with a border of zeros, so that no sample has to be asked whether it lies inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from denseclip.core.precision import full_precision

Size = tuple[int, int]

# Zeros around a map: positions are clamped to two pixels before and one after it, and the next pixel is read as well. A
# row that ends is followed by the border of the next one, so columns need two zeros between them, not three.
_ROWS_BEFORE, _ROWS, _COLUMNS, _SLACK = 2, 4, 2, 1


@dataclass(frozen=True)
class _Layout:
    """Maps with their borders, one after another, for each picture of a batch.

    Attributes:
        sizes: Height and width of each map.
        spans: First and last place of each.
        strides: Places from one row of it to the next.
        places: All places of a picture.
    """

    sizes: tuple[Size, ...]
    spans: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    places: int

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> _Layout:
        spans, start = [], _SLACK
        for height, width in sizes:
            spans.append((start, start + (height + _ROWS) * (width + _COLUMNS)))
            start = spans[-1][1]
        return cls(tuple(sizes), tuple(spans), tuple(width + _COLUMNS for _, width in sizes), start + _SLACK)

    def table(self, value: Tensor) -> Tensor:
        """Maps (N, S, heads, D) with their borders, (N, places, heads, D)."""
        table = value.new_zeros(value.shape[0], self.places, *value.shape[2:])
        levels = value.split([height * width for height, width in self.sizes], dim=1)
        for (start, stop), level, size in zip(self.spans, levels, self.sizes, strict=True):
            _inside(table[:, start:stop], size).copy_(level.unflatten(1, size))
        return table


@dataclass(frozen=True)
class _Samples:
    """Where samples lie; each tensor is (bags, samples).

    Attributes:
        layout: Of the maps.
        heads: Rows of the table at each place.
        rows: Row of the upper left corner of each sample.
        down: From there to the row of the lower left corner, (samples).
        x: How far the sample lies between left and right, 0..1.
        y: How far it lies between top and bottom.
    """

    layout: _Layout
    heads: int
    rows: Tensor
    down: Tensor
    x: Tensor
    y: Tensor

    def corners(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of the corners: upper left, upper right, lower left, lower right."""
        lower = self.rows + self.down
        return self.rows, self.rows + self.heads, lower, lower + self.heads

    def shares(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What of each weight goes to these corners."""
        bottom = weights * self.y
        top = weights - bottom
        top_right, bottom_right = top * self.x, bottom * self.x
        return top - top_right, top_right, bottom - bottom_right, bottom_right


def bilinear_bags(value: Tensor, sizes: Sequence[Size], positions: Tensor, weights: Tensor) -> Tensor:
    """Sum of weighted bilinear samples; outside of a map there are zeros.

    Computed in float32 (or float64): positions in half precision would miss their pixels.

    Args:
        value: Maps, one after another, row by row.
        sizes: Height and width of each map.
        positions: Where to sample, ``(x, y)`` in pixels of the map; the centre of its first pixel is 0.
        weights: Weight of each sample.

    Shape:
        - value: :math:`(N, S, heads, D)`; positions: :math:`(N, L, heads, levels, points, 2)`
        - weights: :math:`(N, L, heads, levels, points)`; result: :math:`(N, L, heads * D)`
    """
    dtype, layout = torch.promote_types(value.dtype, torch.float32), _Layout.of(sizes)
    with full_precision(value.device.type):
        table = layout.table(value.to(dtype)).flatten(0, 2)
        found = _locate(positions.to(dtype), layout)
        bags = weights.to(dtype).reshape(found.rows.shape)
        own = value.device.type == 'cpu' and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if own and any(t.requires_grad for t in (table, bags, found.x)):
            out = _Bags.apply(table, bags, found.x, found.y, found)
        else:
            out = _sum(table, bags, found)
    return out.view(*positions.shape[:2], -1).to(value.dtype)


def _inside(bordered: Tensor, size: Size) -> Tensor:
    """A map (N, h, w, ...) without its border."""
    height, width = size
    whole = bordered.unflatten(1, (height + _ROWS, width + _COLUMNS))
    return whole[:, _ROWS_BEFORE : _ROWS_BEFORE + height, 1 : 1 + width]


def _locate(positions: Tensor, layout: _Layout) -> _Samples:
    """Samples at positions (N, L, heads, levels, points, 2)."""
    batch, _, heads, _, points, _ = positions.shape

    def each(values: Sequence[int], dtype: torch.dtype = positions.dtype) -> Tensor:
        """One number per map, for each of its samples."""
        return torch.tensor([v for v in values for _ in range(points)], dtype=dtype, device=positions.device)

    across, along = (
        torch.minimum(positions[..., axis].flatten(3), each([size[1 - axis] for size in layout.sizes]))
        .clamp(min=-_ROWS_BEFORE)
        .flatten(0, 2)
        for axis in (0, 1)
    )
    left, top = across.detach().floor(), along.detach().floor()
    first = [start + _ROWS_BEFORE * step + 1 for (start, _), step in zip(layout.spans, layout.strides, strict=True)]
    place = torch.addcmul(left, top, each(layout.strides)).add_(each(first)).int()
    # A position that is no number gives no number, but must not lead out of the table.
    last = [stop - step - 1 for (_, stop), step in zip(layout.spans, layout.strides, strict=True)]
    place = torch.minimum(place, each(last, torch.int32)).clamp_(min=0)
    picture = torch.arange(batch, dtype=torch.int32, device=positions.device)[:, None, None] * layout.places
    head = torch.arange(heads, dtype=torch.int32, device=positions.device)[:, None]
    rows = (place.view(batch, -1, heads * place.shape[1]) + picture).view(-1, heads, place.shape[1]) * heads + head
    down = each([step * heads for step in layout.strides], torch.int32)
    return _Samples(layout, heads, rows.flatten(0, 1), down, across - left, along - top)


def _bag(rows: Tensor, table: Tensor, weights: Tensor, offsets: Tensor | None = None) -> Tensor:
    return F.embedding_bag(rows, table, offsets, mode='sum', per_sample_weights=weights)


def _sum(table: Tensor, weights: Tensor, found: _Samples) -> Tensor:
    """Bags (B, D) of rows (R, D)."""
    parts = zip(found.corners(), found.shares(weights), strict=True)
    total: Tensor | None = None
    for rows, shares in parts:
        part = _bag(rows, table, shares)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


class _Bags(torch.autograd.Function):
    """:func:`_sum` with a backward pass that sorts samples once, where PyTorch's own sorts every corner of them."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weights: Tensor, x: Tensor, y: Tensor, found: _Samples) -> Tensor:
        ctx.save_for_backward(table, weights, x, y, found.rows, found.down)
        ctx.layout, ctx.heads = found.layout, found.heads
        return _sum(table, weights, found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        table, weights, x, y, rows, down = ctx.saved_tensors
        found, grad = _Samples(ctx.layout, ctx.heads, rows, down, x, y), grad.contiguous()
        by_table = _grad_of_table(grad, weights, found, table) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:4]):
            return by_table, None, None, None, None
        at = [_products(grad, table, corner) for corner in found.corners()]
        top, bottom = torch.addcmul(at[0], x, at[1] - at[0]), torch.addcmul(at[2], x, at[3] - at[2])
        by_y = bottom - top
        by_weight = torch.addcmul(top, y, by_y)
        right_top, right_bottom = at[1].sub_(at[0]), at[3].sub_(at[2])
        by_x = torch.addcmul(right_top, y, right_bottom - right_top).mul_(weights)
        return by_table, by_weight, by_x, by_y * weights, None


def _products(grad: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Product of each bag's gradient with each of its rows, (B, samples), without gathering the rows."""
    _warned_of_sparse_tensors()
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=rows.dtype, device=rows.device)
    zeros, size = grad.new_zeros(rows.numel()), (rows.shape[0], table.shape[0])
    pairs = torch.sparse_csr_tensor(starts, rows.reshape(-1), zeros, size=size, check_invariants=False)
    return torch.sparse.sampled_addmm(pairs, grad, table.t(), beta=0).values().view(rows.shape)


@lru_cache(maxsize=1)
def _warned_of_sparse_tensors() -> None:
    """Let PyTorch say once, unheard, that its sparse tensors may change."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        nothing = torch.zeros(0, dtype=torch.int32, device='cpu')
        torch.sparse_csr_tensor(torch.zeros(2, dtype=torch.int32, device='cpu'), nothing, nothing.float(), size=(1, 1))


def _grad_of_table(grad: Tensor, weights: Tensor, found: _Samples, table: Tensor) -> Tensor:
    """Gradient of the table: bags again, of the samples that fall on each of its rows."""
    layout = found.layout
    keys, order = found.rows.flatten().sort()
    wanted = torch.arange(table.shape[0], dtype=keys.dtype, device=keys.device)
    starts = torch.searchsorted(keys, wanted, out_int32=True)
    bags = (order // found.rows.shape[1]).to(keys.dtype)
    # Corners lie at fixed distances: what falls on upper left ones is added up, then shifted to where it belongs.
    upper, upper_right, lower, lower_right = (
        _bag(bags, grad, share.flatten()[order], starts).view(-1, layout.places, found.heads * table.shape[1])
        for share in found.shares(weights)
    )
    upper[:, 1:] += upper_right[:, :-1]
    lower[:, 1:] += lower_right[:, :-1]
    for (start, stop), step in zip(layout.spans, layout.strides, strict=True):
        upper[:, start + step : stop] += lower[:, start : stop - step]
    return upper.view(table.shape)
