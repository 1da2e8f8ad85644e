"""Scores of classes from what they look like."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

AGGREGATIONS = ('mean', 'max', 'sum')


def description_scores(cosines: Tensor, class_index: Tensor, num_classes: int, how: str = 'mean') -> Tensor:
    """Scores of classes from the cosines of their sentences.

    Source: "Visual Classification via Description from Large Language Models" (Menon and Vondrick, ICLR 2023), which
    takes the mean.

    Args:
        cosines: Of all sentences.
        class_index: Class of each sentence; every class has one.
        num_classes: C.
        how: ``'mean'``, ``'max'`` or ``'sum'``.

    Raises:
        ValueError: If it is none of these.

    Shape:
        - cosines: :math:`(N, S)`; class_index: :math:`(S,)`; result: :math:`(N, C)`
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"how='{how}' is unknown; choose from {', '.join(AGGREGATIONS)}.")
    index = class_index.expand_as(cosines)
    out = cosines.new_zeros((len(cosines), num_classes))
    reduce = {'mean': 'mean', 'max': 'amax', 'sum': 'sum'}[how]
    return out.scatter_reduce(1, index, cosines, reduce, include_self=how == 'sum')


def follow_up_scores(features: Tensor, sentences: Sequence[Tensor]) -> Tensor:
    """Scores of classes that were told apart by sentences of their own.

    Source: FuDD (Esfandiarpoor and Bach, ICLR 2024): the unit-length mean of the unit sentence vectors.

    Args:
        features: Unit-length rows.
        sentences: Unit-length vectors of each class's sentences.

    Shape:
        - features: :math:`(N, D)`; sentences: :math:`(S_k, D)` each; result: :math:`(N, K)`
    """
    return features @ torch.stack([F.normalize(rows.mean(dim=0), dim=-1) for rows in sentences]).T


def discriminative_selection(similarity: Tensor, ambiguous: Tensor, most: int) -> Tensor:
    """Which descriptions speak for each of a picture's likely classes and against the others.

    Source: "Does VLM Classification Benefit from LLM Description Semantics?" (AAAI 2025). A description is kept for a
    class if reference pictures of that class are at least as similar to it as those of every other likely class; of
    these, the ``most`` with the largest mean margin.

    Args:
        similarity: Mean similarity of the reference pictures of each class with each description.
        ambiguous: Likely classes of each picture.
        most: Descriptions kept per class, at most.

    Returns:
        0 or 1.

    Shape:
        - similarity: :math:`(P, C)`; ambiguous: :math:`(B, k)`; result: :math:`(B, k, P)`
    """
    near = similarity.T[ambiguous]  # B, k, P
    margins = near[:, :, None] - near[:, None]  # own class, other class
    kept = (margins >= 0).all(dim=2)
    mean = margins.mean(dim=2).masked_fill(~kept, -torch.inf)
    # Stable: of equal margins the first description is kept.
    order = mean.argsort(dim=2, descending=True, stable=True)[..., :most]
    chosen = torch.zeros_like(near).scatter_(2, order, 1.0)
    return chosen * kept


def filled_selection(selection: Tensor, ambiguous: Tensor, assignment: Tensor, most: int) -> Tensor:
    """The same, where classes without any kept description take the first ``most`` of those written for them.

    Shape:
        - selection: :math:`(B, k, P)`; ambiguous: :math:`(B, k)`; assignment: :math:`(C, P)`, 0 or 1
    """
    first = assignment * (assignment.cumsum(dim=1) <= most)
    return torch.where(selection.any(dim=2, keepdim=True), selection, first[ambiguous].to(selection.dtype))


def weighted_scores(captions: Tensor, descriptions: Tensor, selection: Tensor, weight: float) -> Tensor:
    """Scores of classes: ``weight`` times that of the caption, plus the mean of the selected descriptions.

    Args:
        captions: Cosines with the caption of each class.
        descriptions: Cosines with all descriptions.
        selection: Which descriptions count for each class, 0 or 1; none: the caption alone counts.
        weight: Of the caption.

    Shape:
        - captions: :math:`(B, K)`; descriptions: :math:`(B, P)`; selection: :math:`(B, K, P)` or :math:`(K, P)`
        - result: :math:`(B, K)`
    """
    shares = selection / selection.sum(dim=-1, keepdim=True).clamp_min(1)
    pattern = 'bp,kp->bk' if selection.ndim == 2 else 'bp,bkp->bk'
    return weight * captions + torch.einsum(pattern, descriptions, shares.to(descriptions.dtype))
