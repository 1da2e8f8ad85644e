"""Whether a picture shows what a word names, from the scores that pixels have anyway.

A score says little by itself: it depends on the model, on the picture, and on what else is asked for. So every pixel's
scores are compared with those of *unrelated words* at the same pixel (common nouns, encoded once). Of a class are kept

* ``best``: the largest log-odds against an average unrelated word, over all pixels;
* ``rival``: the largest log-probability among the classes asked for and an average unrelated word.

All are read at the resolution of the head, before anything is resized: no ``K x H x W`` tensor is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_BUDGET = 16 * 2**20


@dataclass(frozen=True)
class Reference:
    """What unrelated words score.

    Attributes:
        level: Log of the mean of their exponentiated scores, per pixel.
        tops: The largest log-odds that each of them has over the pixels that count; None: not asked for.

    Shape:
        - level: :math:`(h, w)`; tops: :math:`(M,)`
    """

    level: Tensor
    tops: Tensor | None


def reference_scores(
    compare: Callable[[Tensor], Tensor], features: Tensor, inside: Tensor | None = None, wants_tops: bool = True
) -> Reference:
    """Score unrelated words at every pixel, some rows of pixels at a time.

    Args:
        compare: Scores (1, M, r, w) of the words from features (1, C, r, w), in units of a softmax.
        features: Of the pixels of one picture.
        inside: Pixels that count for :attr:`Reference.tops`, (h, w) bool; None: all.
        wants_tops: Whether to find those; half of the time goes there.

    Shape:
        - features: :math:`(1, C, h, w)`
    """
    height, width = features.shape[-2:]
    first = compare(features[:, :, :1])
    words = first.shape[1]
    rows = max(1, _BUDGET // (words * width * 4))
    level = features.new_empty((height, width), dtype=first.dtype)
    tops = first.new_full((words,), -math.inf)
    for top in range(0, height, rows):
        scores = compare(features[:, :, top : top + rows])[0]
        band = scores.logsumexp(dim=0) - math.log(words)
        level[top : top + rows] = band
        if not wants_tops:
            continue
        odds = (scores - band).flatten(1)
        if inside is not None:
            odds = odds[:, inside[top : top + rows].flatten()]
        if odds.shape[1]:
            tops = torch.maximum(tops, odds.amax(dim=1))
    return Reference(level, tops if wants_tops else None)


def word_evidence(scores: Sequence[Tensor], levels: Sequence[Tensor], inside: Sequence[Tensor]) -> Tensor:
    """Evidence for every class, see the module's text.

    Args:
        scores: Scores of the classes in units of a softmax, one tensor per window of the picture.
        levels: :attr:`Reference.level` of each window.
        inside: Pixels of each window that lie in the picture; some must.

    Returns:
        One row of ``denseclip.structures.word_scores.FEATURES`` per class, float32.

    Shape:
        - scores: :math:`(K, h, w)` each; levels, inside: :math:`(h, w)` each; result: :math:`(K, 2)`
    """
    level = _pixels(levels, inside)
    total = level.clone()  # of all classes and an average unrelated word
    step = max(1, _BUDGET // (level.numel() * 4))
    spans = [(start, start + step) for start in range(0, scores[0].shape[0], step)]
    for start, stop in spans:
        total = torch.logaddexp(total, _pixels([s[start:stop] for s in scores], inside).logsumexp(dim=0))
    rows = []
    for start, stop in spans:
        part = _pixels([s[start:stop] for s in scores], inside)
        rows.append(torch.stack([(part - level).amax(dim=1), (part - total).amax(dim=1)], dim=1))
    return torch.cat(rows).float()


def rank_among(best: Tensor, tops: Tensor) -> Tensor:
    """The share of unrelated words whose best log-odds on the picture are lower.

    Shape:
        - best: :math:`(K,)`; tops: :math:`(M,)`; result: :math:`(K,)`, 0..1
    """
    return (best[:, None] > tops.to(best)[None]).float().mean(dim=1)


def _pixels(planes: Sequence[Tensor], inside: Sequence[Tensor]) -> Tensor:
    """The pixels that count of all windows, (..., P)."""
    pairs = zip(planes, inside, strict=True)
    return torch.cat([plane.flatten(-2) if bool(mask.all()) else plane[..., mask] for plane, mask in pairs], dim=-1)
