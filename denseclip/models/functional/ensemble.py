"""Classes of masks from two stages: the mask generator's own classifier, and CLIP on the pictures of the masks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Stages = Literal['both', 'first', 'second']
STAGES: tuple[Stages, ...] = ('both', 'first', 'second')


def combine_stages(
    first: Tensor | None, second: Tensor | None, valid: Tensor, *, weight: float = 0.7, stages: Stages = 'both'
) -> Tensor:
    r"""Class scores of masks by the weighted geometric mean of both stages, :math:`p_1^{1-w} p_2^{w}`.

    For a mask without a pixel the second stage knows nothing: its factor is 1. With ``stages='second'`` such masks
    have no class at all; if every mask is such, the first stage is taken instead of nothing.

    Source: OVSeg (Liang et al., CVPR 2023), section 3.2; the result is not normalised, as in the authors' code.

    Args:
        first: Logarithms of the first stage's class probabilities; None: it has no opinion (masks from elsewhere).
        second: Logarithms of the second stage's; None: it was not asked. Rows of invalid masks are not looked at.
        valid: bool; masks that the second stage has seen.
        weight: Weight of the second stage, 0..1.
        stages: ``'both'``, or one of them alone.

    Returns:
        Scores, in float32.

    Raises:
        ValueError: If there is nothing to go by, or ``stages`` is unknown.

    Shape:
        - first, second and result: :math:`(Q, K)`; valid: :math:`(Q,)`
    """
    if stages not in STAGES:
        raise ValueError(f"stages='{stages}' is unknown; choose from {', '.join(STAGES)}.")
    if first is None and second is None:
        raise ValueError('neither stage has class scores: masks without embeddings need the region classifier.')
    if second is None or stages == 'first':
        if first is None:
            raise ValueError("stages='first': these masks have no class embeddings; use both stages or the second.")
        return first.float().exp()
    seen = valid[:, None]
    alone = second.float().masked_fill(~seen, -torch.inf)
    if first is None:
        return alone.exp()
    own = first.float()
    if stages == 'second':
        return torch.where(valid.any(), alone, own).exp()
    return ((1.0 - weight) * own + weight * second.float().masked_fill(~seen, 0.0)).exp()


def best_masks(class_scores: Tensor, skip_last: bool = False) -> Tensor:
    """The mask that fits each class best, as OVSeg's demonstration takes them.

    Args:
        class_scores: Scores of the masks.
        skip_last: Leave out the pick of the last class (one that only stands for everything else).

    Returns:
        Numbers of the masks, rising; one that fits several classes best is named once.

    Shape:
        - class_scores: :math:`(Q, K)`; result: at most :math:`(K,)`
    """
    wanted = class_scores[:, :-1] if skip_last else class_scores
    return wanted.argmax(dim=0).unique()


def deciding_stage(class_scores: Tensor, first: Tensor | None, second: Tensor | None, valid: Tensor) -> Tensor:
    """Which stage a mask owes its class to.

    Args:
        class_scores: Of :func:`combine_stages`.
        first: As given there.
        second: As given there.
        valid: As given there.

    Returns:
        Index into :data:`denseclip.structures.deciders.DECIDERS`: both name that class by themselves; only the first
        does, only the second does; neither does, and only their mean favours it.

    Shape:
        - class_scores: :math:`(Q, K)`; result: :math:`(Q,)`, int64
    """
    found = class_scores.argmax(dim=1)
    nobody = torch.zeros_like(found, dtype=torch.bool)
    by_first = nobody if first is None else first.argmax(dim=1) == found
    by_second = nobody if second is None else valid & (second.argmax(dim=1) == found)
    neither = torch.full_like(found, 3)
    one = torch.where(by_first, 1, torch.where(by_second, 2, neither))
    return torch.where(by_first & by_second, 0, one)
