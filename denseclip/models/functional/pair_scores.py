"""Likely classes compared again by sentences that tell them apart, for many regions at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_BUDGET = 2**24  # numbers of sentence vectors that are gathered at once


@dataclass(frozen=True)
class PairTable:
    """Sentences of pairs of classes.

    Attributes:
        ids: Rows of :attr:`sentences` that speak for a class against another one; -1: no more.
        sentences: Unit-length vectors.
        described: Whether a pair has sentences of its own, not only a template's.

    Shape:
        - ids: :math:`(K, K, P)`; sentences: :math:`(S, D)`; described: :math:`(K, K)`, bool
    """

    ids: Tensor
    sentences: Tensor
    described: Tensor


def pair_scores(features: Tensor, top: Tensor, table: PairTable) -> Tensor:
    """Scores of the likely classes of regions by the sentences of their pairs.

    Source: FuDD (Esfandiarpoor and Bach, ICLR 2024): the unit-length mean of the unit vectors of a class's sentences
    in all pairs among the likely classes, each sentence once. Equal to
    :func:`~denseclip.models.functional.descriptions.follow_up_scores` region by region.

    Args:
        features: Unit-length rows of regions.
        top: Likely classes of each region, all different, two at least.
        table: The sentences.

    Shape:
        - features: :math:`(Q, D)`; top and result: :math:`(Q, k)`
    """
    count, dim = top.shape[1], features.shape[1]
    step = max(1, _BUDGET // max(1, count * count * table.ids.shape[-1] * dim))
    found = [_scores(f, t, table) for f, t in zip(features.split(step), top.split(step), strict=True)]
    return torch.cat(found) if found else features.new_zeros(top.shape)


def _scores(features: Tensor, top: Tensor, table: PairTable) -> Tensor:
    ids = table.ids[top[:, :, None], top[:, None, :]].flatten(2).sort(dim=-1).values  # regions, classes, sentences
    first = torch.ones_like(ids, dtype=torch.bool)
    first[..., 1:] = ids[..., 1:] != ids[..., :-1]
    rows = table.sentences[ids.clamp_min(0)] * (first & (ids >= 0))[..., None]
    directions = F.normalize(rows.sum(dim=2), dim=-1)  # the length of the mean does not matter
    return (directions @ features[:, :, None])[..., 0]


def compared_again(logits: Tensor, features: Tensor, table: PairTable, scale: Tensor | float, most: int) -> Tensor:
    """Logits whose likeliest classes were told apart by the sentences of their pairs.

    They share among them what they had together before, so that no other class gains or loses. Regions none of whose
    pairs is described keep their logits.

    Args:
        logits: Of the classes, in units of a softmax.
        features: Of the regions, of any length.
        table: The sentences.
        scale: Factor of the cosines.
        most: How many classes are likely.

    Shape:
        - logits and result: :math:`(..., K)`; features: :math:`(..., D)`
    """
    most = min(most, logits.shape[-1])
    if most < 2:
        return logits
    flat, rows = logits.flatten(0, -2), F.normalize(features.flatten(0, -2).to(logits.dtype), dim=-1)
    before, top = flat.topk(most, dim=-1)
    says = table.described[top[:, :, None], top[:, None, :]].flatten(1).any(dim=1, keepdim=True)
    after = scale * pair_scores(rows, top, table)
    after = after - after.logsumexp(dim=-1, keepdim=True) + before.logsumexp(dim=-1, keepdim=True)
    return flat.scatter(-1, top, torch.where(says, after, before).to(flat.dtype)).view_as(logits)
