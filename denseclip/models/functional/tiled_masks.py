"""The merges of :mod:`.mask_inference` on a CPU, by tiles.

In most tiles of a picture few masks are neither empty nor full, and few classes can win. What cannot change the result
is left out, and that it cannot is known from the bounds of each mask in the tile. Sums are rounded in another order
than those of whole planes: where two classes or queries are equal within rounding, either may win.
"""

from __future__ import annotations

import torch
from torch import Tensor

from denseclip.core.placement import Placement
from denseclip.core.precision import full_precision

from .label_map import label_dtype
from .mask_tiles import Tile, mask_tiles

# What all left-out masks of a tile together may move a score by, relative to the best one. Pixels that this could
# decide are looked at again with all masks, so it is a matter of time alone.
_LEFT_OUT = 1e-5
# Rounding of a sum, relative to the largest score of a tile; the bounds are themselves rounded.
_ROUNDING = 64 * torch.finfo(torch.float32).eps


def labels_by_tiles(
    class_probs: Tensor, mask_logits: Tensor, geometry: Placement, merge_first: bool, are_logits: bool, budget: int
) -> Tensor:
    """:func:`.mask_inference.semantic_labels` by tiles.

    Args:
        class_probs: See there.
        mask_logits: See there; float32 on the CPU.
        geometry: See there.
        merge_first: See there.
        are_logits: See there.
        budget: Bytes that the score planes of a tile may take.

    Shape:
        class_probs ``(Q, K)``, mask_logits ``(Q, h, w)``; result ``geometry.result_size(mask_logits)``
    """
    probs = class_probs.detach().float()
    labels = torch.empty(geometry.result_size(mask_logits), dtype=label_dtype(probs.shape[1]), device='cpu')
    planes = max(probs.shape)
    with torch.no_grad(), full_precision('cpu'):
        for tile in mask_tiles(mask_logits, geometry, planes=planes, budget=budget, merge_first=merge_first):
            low, high = (b.sigmoid() if are_logits else b for b in (tile.low, tile.high))
            labels[tile.area] = _tile_labels(probs, low, high, tile, are_logits).to(labels.dtype)
    return labels


def _tile_labels(probs: Tensor, low: Tensor, high: Tensor, tile: Tile, are_logits: bool) -> Tensor:
    """Label of each pixel of a tile, (rows, columns) or one for all, whose masks lie between ``low`` and ``high``."""
    most, least = _bounds(probs, low, high)
    margin = _ROUNDING * float(torch.maximum(most.abs(), least.abs()).amax())
    able = (most >= least.amax() - margin).nonzero()[:, 0]
    if able.numel() == 1:
        return able
    if able.numel() > probs.shape[1] // 2:  # not worth a copy
        able, some = torch.arange(probs.shape[1], device='cpu'), probs
    else:
        some = probs.index_select(1, able)
    # A mask is as good as constant here, or its classes are: it moves the difference of two classes by no more than
    # the spread of its probabilities times half of its range.
    middle = (low + high) / 2
    moves = (some.amax(dim=1) - some.amin(dim=1)) * (high - low) / 2
    order = moves.argsort()
    without = int((moves[order].cumsum(0) <= _LEFT_OUT * float(most.amax())).sum())
    rest, taken = order[:without], order[without:]
    doubt = float(moves[rest].sum()) + margin
    base = (middle[rest] @ some[rest])[:, None, None]
    if 0 < taken.numel() <= probs.shape[0] // 2:  # else looking twice would cost more than it can save
        scores = tile.finish(_merged(some, taken, tile, are_logits).add_(base))
        best, found = scores.max(dim=0)
        # One class within reach of the best one is itself.
        if int((scores >= best - doubt).sum()) == found.numel():
            return able[found]
    full = _merged(some, None, tile, are_logits)
    return able[tile.finish(full).max(dim=0).indices]


def _bounds(probs: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Most and least that each class can score, (K,); values may be negative where they are no probabilities."""
    pair = torch.stack([high, low])
    if bool((low >= 0).all()) and bool((probs >= 0).all()):
        most, least = pair @ probs
        return most, least
    positive, negative = probs.clamp_min(0), probs.clamp_max(0)
    return high @ positive + low @ negative, low @ positive + high @ negative


def _merged(probs: Tensor, which: Tensor | None, tile: Tile, are_logits: bool) -> Tensor:
    """Scores of classes from some masks or all, (classes, rows, columns)."""
    planes = tile.planes(which)
    planes = planes.sigmoid_() if are_logits else planes
    some = probs if which is None else probs.index_select(0, which)
    return (some.T @ planes.flatten(1)).unflatten(1, planes.shape[1:])


def compete_by_tiles(
    scores: Tensor, mask_logits: Tensor, geometry: Placement, budget: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Query that wins each pixel, whether the pixel is in that query's own mask, and the area of each mask.

    Args:
        scores: Class probability of each query.
        mask_logits: Masks; float32 on the CPU.
        geometry: How they reach the picture's size.
        budget: Bytes that the masks of a tile may take.

    Shape:
        scores ``(Q,)``, mask_logits ``(Q, h, w)``; results ``(H, W)``, ``(H, W)``, ``(Q,)``
    """
    size = geometry.result_size(mask_logits)
    winner = torch.empty(size, dtype=torch.long, device='cpu')
    confident = torch.empty(size, dtype=torch.bool, device='cpu')
    areas = torch.zeros(scores.shape[0], dtype=torch.long, device='cpu')
    scores = scores.detach().float()
    with torch.no_grad(), full_precision('cpu'):
        for tile in mask_tiles(mask_logits, geometry, planes=mask_logits.shape[0], budget=budget):
            most, least = scores * tile.high.sigmoid(), scores * tile.low.sigmoid()
            able = most >= least.amax() * (1 - _ROUNDING)
            full = tile.low > _near_zero(tile)
            mixed = ~full & (tile.high >= -_near_zero(tile))
            which = (able | mixed).nonzero()[:, 0]
            planes = tile.planes(which)
            inside = planes >= 0
            areas += full * planes[0].numel()
            areas[which] += inside.flatten(1).sum(dim=1) * mixed[which]
            index = (planes.sigmoid_() * scores[which, None, None]).argmax(dim=0)
            winner[tile.area] = which[index]
            confident[tile.area] = inside.gather(0, index[None])[0]
    return winner, confident, areas


def instances_by_tiles(mask_logits: Tensor, geometry: Placement, budget: int) -> tuple[Tensor, Tensor]:
    """Masks in the picture's size, bool, and the mean probability inside of each.

    Args:
        mask_logits: Masks; float32 on the CPU.
        geometry: How they reach the picture's size.
        budget: Bytes that the masks of a tile may take.

    Shape:
        mask_logits ``(Q, h, w)``; results ``(Q, H, W)``, ``(Q,)``
    """
    count = mask_logits.shape[0]
    masks = torch.zeros((count, *geometry.result_size(mask_logits)), dtype=torch.bool, device='cpu')
    total, area = torch.zeros(count, device='cpu'), torch.zeros(count, device='cpu')
    with torch.no_grad(), full_precision('cpu'):
        for tile in mask_tiles(mask_logits, geometry, planes=count, budget=budget):
            which = (tile.high > -_near_zero(tile)).nonzero()[:, 0]
            if not which.numel():
                continue
            planes = tile.planes(which)
            inside = planes > 0
            masks[(which, *tile.area)] = inside
            total[which] += (planes.sigmoid_() * inside).flatten(1).sum(dim=1)
            area[which] += inside.flatten(1).sum(dim=1)
    return masks, total / (area + 1e-6)


def _near_zero(tile: Tile) -> Tensor:
    """What rounding can move each mask's logits by, (Q,)."""
    return _ROUNDING * torch.maximum(tile.high.abs(), tile.low.abs())
