"""Which masks are worth a closer look: tiny ones and near-duplicates of others are not."""

from __future__ import annotations

import torch
from torch import Tensor

_SAMPLES = 128  # sides that areas and overlaps are counted on; finer grids change neither noticeably


def mask_overlaps(masks: Tensor) -> Tensor:
    """Intersection over union of all pairs of masks; 0 where both are empty.

    Shape:
        - masks: :math:`(Q, H, W)`, bool; result: :math:`(Q, Q)`
    """
    flat = masks.flatten(1).float()
    common = flat @ flat.T
    area = flat.sum(dim=1)
    return common / (area[:, None] + area[None] - common).clamp_min(1.0)


def representatives(
    masks: Tensor,
    *,
    min_area: float = 0.0,
    max_overlap: float | None = None,
    scores: Tensor | None = None,
    threshold: float = 0.5,
) -> Tensor:
    """The mask that stands for each mask: itself, a near-duplicate that comes before it, or none for tiny ones.

    Masks are gone through from the highest score down, and a mask that overlaps one already kept is dropped, as in
    non-maximum suppression. All pairs are looked at together: the rule is repeated until nothing changes, which gives
    the same answer as going through them one by one.

    Args:
        masks: Shares of the pixels, 0..1, or boolean.
        min_area: Least share of the picture that a mask must cover, 0..1; 0 keeps all.
        max_overlap: Intersection over union, 0..1, above which two masks are taken for one; None never does.
        scores: Who comes first; None: the order given.
        threshold: A pixel is in a mask if its share is above this.

    Returns:
        Number of the mask that stands for each; -1: none does.

    Shape:
        - masks: :math:`(Q, H, W)`; scores: :math:`(Q,)`; result: :math:`(Q,)`, int64
    """
    step = max(1, min(masks.shape[-2:]) // _SAMPLES)
    sampled = masks[:, ::step, ::step]
    inside = sampled if sampled.dtype == torch.bool else sampled > threshold
    numbers = torch.arange(len(masks), device=masks.device)
    alive = inside.flatten(1).float().mean(dim=1) >= min_area
    if max_overlap is None:
        return torch.where(alive, numbers, -1)
    order = numbers if scores is None else scores.argsort(descending=True, stable=True)
    near = (mask_overlaps(inside[order]) > max_overlap).tril(-1)  # row: a mask; columns: those before it
    near &= alive[order][:, None] & alive[order][None]
    kept = alive[order]
    for _ in range(len(masks)):
        changed = alive[order] & ~(near & kept[None]).any(dim=1)
        if torch.equal(changed, kept):
            break
        kept = changed
    first = (near & kept[None]).byte().argmax(dim=1)
    stand_in = torch.where(kept, numbers, torch.where(alive[order], first, -1))
    result = torch.empty_like(stand_in)
    result[order] = torch.where(stand_in >= 0, order[stand_in.clamp_min(0)], -1)
    return result
