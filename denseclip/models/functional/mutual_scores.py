"""Parts that judge one another: a patch is usual if most of the other pictures have one like it.

Source: MuSc (Li et al., ICLR 2024); the guard against defects that recur is after the observation of CoDeGraph
(arXiv 2510.10863) that their distances jump once the pictures with the same defect are used up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from .patch_memory import nearest_distances

_LEAST_JUMP = math.log(1.25)


def neighbourhoods(features: Tensor, side: int = 3) -> Tensor:
    """Layer norm over a whole map, mean over a window around every place (zeros outside count), unit length.

    Args:
        features: Map of one layer.
        side: Of the window, odd; 1 takes every place alone.

    Shape:
        - features and result: :math:`(N, C, h, w)`

    Source: MuSc's local neighbourhood aggregation.
    """
    normed = F.layer_norm(features, features.shape[1:])
    if side > 1:
        normed = F.avg_pool2d(normed, side, stride=1, padding=side // 2)
    return F.normalize(normed, dim=1)


def peer_distances(patches: Tensor, peers: Iterable[Tensor]) -> Tensor:
    """Distance of every patch to the nearest one in each other picture.

    Args:
        patches: Of a picture.
        peers: Patches of the others, whatever their number; one picture at a time is compared with.

    Shape:
        - patches: :math:`(P, C)`; each of peers: :math:`(P', C)`; result: :math:`(P, n)`
    """
    columns = [nearest_distances(patches, peer) for peer in peers]
    return torch.stack(columns, dim=1) if columns else patches.new_zeros(len(patches), 0)


def interval_mean(distances: Tensor, share: float = 0.3) -> Tensor:
    """Mean of the least distances of every row.

    Args:
        distances: To the other pictures.
        share: Which part of them counts; at least one does, so that two pictures are enough (the authors' code gives
            no number for fewer than five).

    Shape:
        - distances: :math:`(P, n)`; result: :math:`(P)`

    Raises:
        ValueError: Without another picture.
    """
    count = distances.shape[1]
    if not count:
        raise ValueError('a picture needs at least one other to be judged by')
    return distances.topk(max(1, int(count * share)), dim=1, largest=False).values.mean(dim=1)


def jump_limit(sorted_distances: Tensor, width: float = 6.0) -> Tensor:
    """From which growth on the distances of a patch are said to jump: a quarter, and far above what usual patches show.

    Args:
        sorted_distances: Rows of rising distances, of many patches.
        width: How many spreads (median absolute deviations) above the median.

    Shape:
        - sorted_distances: :math:`(P, n)`; result: a scalar
    """
    growth = _growth(sorted_distances).amax(dim=1)
    middle = growth.median()
    return (middle + width * (growth - middle).abs().median()).clamp(min=_LEAST_JUMP)


def without_accomplices(distances: Tensor, limit: Tensor) -> Tensor:
    """Distances of which those before a jump are replaced: pictures that share a defect do not vouch for it.

    A patch of a recurring defect is close to the few pictures with the same defect and far from all others. What comes
    before the largest jump is replaced by the least distance after it, if the jump exceeds the limit and a minority of
    the pictures lies before it. What most pictures share is no defect by any measure of a batch.

    Args:
        distances: Of every patch to the other pictures.
        limit: See :func:`jump_limit`.

    Shape:
        - distances and result: :math:`(P, n)`; rows of the result rise
    """
    rising = distances.sort(dim=1).values
    count = rising.shape[1]
    if count < 4:  # a minority of three is one picture, which chance gives
        return rising
    growth = _growth(rising)[:, : (count - 1) // 2]
    jump, place = growth.max(dim=1)
    numbers = torch.arange(count, device=rising.device)
    accomplices = (numbers <= place[:, None]) & (jump > limit)[:, None]
    after = rising.gather(1, (place + 1)[:, None])
    return torch.where(accomplices, after, rising)


def _growth(rising: Tensor) -> Tensor:
    """Logarithm of how much every distance exceeds the one before, (P, n - 1), among the nearer half and one more."""
    floor = rising.median() * 1e-3 + torch.finfo(rising.dtype).tiny
    logs = (rising + floor).log()
    half = max(1, (rising.shape[1] - 1) // 2)
    return (logs[:, 1:] - logs[:, :-1])[:, :half]
