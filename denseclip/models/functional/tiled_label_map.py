"""Label maps on a CPU, several times faster than by resizing every class, and still equal to it.

Resizing windows, adding them up, dividing by their number and resizing the sum is linear and treats rows and columns
apart: scores in the picture's size are ``sum A M B^T`` over the windows, one small matrix per axis. That allows

* bounds: the scores of a tile are weighted means of a few scores of patches, so a class whose largest one lies below
  the smallest one of another class cannot win there and is not resized at all;
* matrix products of the few classes that are left in a tile.

Products round differently than PyTorch's resizing. Pixels whose two best classes are nearer than what rounding can do
are therefore decided by :mod:`.label_map`, for the classes that take part. Where this way does not apply (other
devices and types, small or huge pictures, scores that are not finite) the whole map is made there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from denseclip.core.precision import full_precision
from denseclip.core.values import has_values

from .bilinear_matrix import bilinear_matrix
from .label_map import Box, Size, chunked_label_map, label_dtype, slide_label_map

_TILE = (32, 64)
_LARGEST_SIDE = 2048
_LEAST_NUMBERS = 2**20
_FEW_CLASSES = 24
"""One window of fewer classes is resized as a whole in 0.5 (11 classes) to 0.9 (21) of the time of its tiles."""
# What rounding can move a score by, relative to the largest one of its tile. Counted: about a dozen roundings of
# resizing twice, adding up windows and dividing, and as many of two products, whose sums have few terms but zeros.
_ROUNDING = 32 * torch.finfo(torch.float32).eps / 2


@dataclass(frozen=True)
class _Axis:
    """How scores of patches become scores of pixels along one axis.

    Attributes:
        matrix: (out, windows * patches), rows add up to one.
        windows: Span of each window.
    """

    matrix: Tensor
    windows: tuple[tuple[int, int], ...]


def tiled_label_map(
    maps: Sequence[Tensor],
    boxes: Sequence[Box] | None,
    img_size: Size,
    out_size: Size,
    valid: Box | None = None,
) -> Tensor:
    """Label map of a picture from the scores of its windows.

    Args:
        maps: Scores of the windows at the resolution of the head.
        boxes: ``(top, bottom, left, right)`` of each window in the network's input; None for one over all of it.
        img_size: Size of the network's input.
        out_size: Size of the result.
        valid: ``(top, bottom, left, right)`` of the input without padding.

    Returns:
        What :func:`.label_map.slide_label_map` returns, to the last pixel; of scores of 16 bits on a CPU, what it
        returns for their values in float32, in which neither resizing nor comparing rounds them once more.

    Shape:
        - maps: :math:`(K, h, w)` each; result: ``out_size``
    """
    if maps[0].device.type == 'cpu' and maps[0].dtype in (torch.bfloat16, torch.float16):
        maps = [scores.float() for scores in maps]
    whole = (0, img_size[0], 0, img_size[1])
    axes = _axes(maps, [tuple(box) for box in boxes or [whole]], img_size, out_size, valid or whole)
    if axes is None:
        return _resized_label_map(maps, boxes, img_size, out_size, valid)
    with full_precision('cpu'):
        labels, close, rivals = _by_tiles(maps, *axes, out_size)
    if bool(rivals.any()):
        # A rounding step apart or equal: fewer than four planes would meet another kernel, so others are added.
        order = torch.cat([rivals.nonzero()[:, 0], (~rivals).nonzero()[:, 0]])
        some = order[: max(4, int(rivals.sum()))].sort().values
        exact = _resized_label_map(maps, boxes, img_size, out_size, valid, some)
        labels[close] = some[exact[close].long()].to(labels.dtype)
    return labels


def _resized_label_map(
    maps: Sequence[Tensor],
    boxes: Sequence[Box] | None,
    img_size: Size,
    out_size: Size,
    valid: Box | None,
    classes: Tensor | None = None,
) -> Tensor:
    if boxes is None:
        return chunked_label_map(maps[0], [img_size, out_size], valid=valid, classes=classes)
    return slide_label_map(maps, boxes, img_size, out_size, valid=valid, classes=classes)


def _axes(
    maps: Sequence[Tensor], boxes: Sequence[tuple[int, ...]], img_size: Size, out_size: Size, valid: Box
) -> tuple[_Axis, _Axis] | None:
    """Both axes, or None where this way does not apply."""
    first = maps[0]
    rows = tuple(sorted({(top, bottom) for top, bottom, _, _ in boxes}))
    columns = tuple(sorted({(left, right) for _, _, left, right in boxes}))
    grid = [(*row, *column) for row in rows for column in columns]
    sizes = [img_size, out_size, *((bottom - top, right - left) for top, bottom, left, right in boxes)]
    if (
        list(boxes) != grid  # the number of windows over a pixel must be one of rows times one of columns
        or len(maps) != len(grid)
        or first.device.type != 'cpu'
        or not has_values(first)
        or any(m.dtype != torch.float32 or m.shape != first.shape or m.ndim != 3 for m in maps)
        or first.shape[0] < (_FEW_CLASSES if len(maps) == 1 else 4)
        or first.shape[1:].numel() == 1
        or first.shape[0] * out_size[0] * out_size[1] < _LEAST_NUMBERS
        or any(sum(size) <= 128 or max(size) > _LARGEST_SIDE for size in sizes)
        or torch.get_float32_matmul_precision() != 'highest'
        # of the extremes, which pass NaN on: isfinite() of all scores would make copies of them
        or not all(bool(torch.stack(m.detach().aminmax()).isfinite().all()) for m in maps)
    ):
        return None
    down = _axis(first.shape[1], rows, img_size[0], (valid[0], min(valid[1], img_size[0])), out_size[0])
    across = _axis(first.shape[2], columns, img_size[1], (valid[2], min(valid[3], img_size[1])), out_size[1])
    return None if down is None or across is None else (down, across)


@lru_cache(maxsize=8)
def _axis(
    patches: int, windows: tuple[tuple[int, int], ...], length: int, valid: tuple[int, int], out: int
) -> _Axis | None:
    """Matrix of an axis; None if a part of it is in no window."""
    parts, count = [], torch.zeros(length, 1, dtype=torch.float64, device='cpu')
    for start, stop in windows:
        part = torch.zeros(length, patches, dtype=torch.float64, device='cpu')
        part[start:stop] = bilinear_matrix(patches, stop - start)
        count[start:stop] += 1
        parts.append(part)
    if not bool(count.all()):
        return None
    mean = (torch.cat(parts, dim=1) / count)[valid[0] : valid[1]]
    return _Axis((bilinear_matrix(mean.shape[0], out) @ mean).float(), windows)


def _by_tiles(maps: Sequence[Tensor], down: _Axis, across: _Axis, out_size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, pixels that are too close to call, and the classes that they are between, (K,) bool."""
    classes = maps[0].shape[0]
    labels = torch.empty(out_size, dtype=label_dtype(classes), device='cpu')
    close = torch.zeros(out_size, dtype=torch.bool, device='cpu')
    rivals = torch.zeros(classes, dtype=torch.bool, device='cpu')
    wide = len(across.windows)
    stacks = [[m.detach() for m in maps[i::wide]] for i in range(wide)]
    # One window is the scores themselves, not a copy of them.
    columns = [(s[0] if len(s) == 1 else torch.cat(s, dim=1)).permute(2, 0, 1) for s in stacks]
    spans = [(x, min(x + _TILE[1], out_size[1])) for x in range(0, out_size[1], _TILE[1])]
    used = [(across.matrix[left:right] != 0).any(dim=0).nonzero()[:, 0] for left, right in spans]
    for top in range(0, out_size[0], _TILE[0]):
        band = down.matrix[top : top + _TILE[0]]
        near = (band != 0).any(dim=0).nonzero()[:, 0]
        # Windows side by side, their columns still patches: (windows * patches, K, rows).
        parts = [c.index_select(2, near) @ band[:, near].T for c in columns]
        strip = parts.pop() if wide == 1 else torch.cat(parts)
        high, low = strip.amax(dim=2), strip.amin(dim=2)
        for (left, right), patches in zip(spans, used, strict=True):
            most, least = high[patches].amax(dim=0), low[patches].amin(dim=0)
            margin = 2 * _ROUNDING * float(torch.maximum(most, -least).amax())
            able = (most >= least.amax() - margin).nonzero()[:, 0]
            tile = slice(top, top + band.shape[0]), slice(left, right)
            if able.numel() == 1:
                labels[tile] = able.to(labels.dtype)
                continue
            rows = strip[patches].index_select(1, able).flatten(1).T  # (classes * rows, patches)
            scores = (rows @ across.matrix[left:right, patches].T).view(able.numel(), -1)
            contenders = scores.ge_(scores.amax(dim=0) - margin)
            # How many contenders a pixel has, and the sum of their numbers: its label where there is one.
            counts = torch.stack([torch.ones_like(able), able]).float() @ contenders
            count, name = counts.unflatten(1, labels[tile].shape)
            labels[tile] = name.to(labels.dtype)
            tied = count > 1
            if bool(tied.any()):
                close[tile] = tied
                rivals[able[contenders[:, tied.flatten()].any(dim=1)]] = True
        del strip, parts, high, low  # else they would still be held while the next ones are made
    return labels, close, rivals
