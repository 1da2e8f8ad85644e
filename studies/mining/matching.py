"""Which mask shows which noun: CLIP decides."""

from __future__ import annotations

import torch
from torch import Tensor


def best_regions(
    regions: Tensor,
    words: Tensor,
    valid: Tensor | None = None,
    *,
    min_score: float = -1.0,
    mutual: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""For each word the region that is most similar to it.

    Args:
        regions: Unit-length embeddings of the cut-out regions.
        words: Unit-length embeddings of the nouns.
        valid: Regions that may be taken; None: all.
        min_score: Words whose best cosine is lower get no region.
        mutual: Keep a pair only if the word is also the best one of all words for the region: fewer pairs, and words
            that the picture does not show no longer take some region. Off in the paper.

    Returns:
        Indices of the words that got a region, of their regions, and the cosines.

    Shape:
        - regions: :math:`(Q, E)`; words: :math:`(M, E)`; valid: :math:`(Q)`
        - results: :math:`(P)` each, :math:`P \le M`

    Source: Liang et al., "Open-Vocabulary Semantic Segmentation with Mask-adapted CLIP", 2023, section 3.2.
    """
    scores = words @ regions.T
    if valid is not None:
        scores = scores.masked_fill(~valid, float('-inf'))
    if not scores.numel():
        empty = torch.zeros(0, dtype=torch.long, device=scores.device)
        return empty, empty, scores.new_zeros(0)
    best, region = scores.max(dim=1)
    kept = (best >= min_score) & best.isfinite()
    if mutual:
        kept &= scores.argmax(dim=0)[region] == torch.arange(len(scores), device=scores.device)
    word = kept.nonzero()[:, 0]
    return word, region[word], best[word]
