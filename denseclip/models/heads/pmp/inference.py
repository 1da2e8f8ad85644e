"""Several runs of a prompt-guided decoder over one picture, made one set of proposals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from denseclip.structures.mask_proposals import MaskProposals

INFERENCE = ('all', 'chunk', 'per_prompt')


def unite(parts: Sequence[MaskProposals]) -> MaskProposals:
    """All proposals of several runs, one run after the other.

    Args:
        parts: Proposals (N, Q_i, …) of the same pictures; at least one.

    Returns:
        Proposals (N, ΣQ_i, …). What one of the runs does not say (embeddings, scores), the result does not say.
    """

    def cat(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if any(v is None for v in values) else torch.cat(values, dim=1)

    masks = cat('mask_logits')
    assert masks is not None
    return MaskProposals(masks, cat('class_embeddings'), cat('scores'))


def best_of_each(parts: Sequence[MaskProposals], match: Sequence[Tensor]) -> MaskProposals:
    """Of each run, the one proposal that fits its prompt best.

    Args:
        parts: Proposals of one run per prompt.
        match: How well each proposal fits the prompt of its run, (N, Q) per run.

    Returns:
        Proposals (N, P, …), one per prompt.
    """
    return unite([take(part, scores.argmax(dim=1, keepdim=True)) for part, scores in zip(parts, match, strict=True)])


def take(proposals: MaskProposals, index: Tensor) -> MaskProposals:
    """Some proposals of each picture.

    Args:
        proposals: (N, Q, …).
        index: Which, LongTensor (N, M).
    """
    rows = torch.arange(index.shape[0], device=index.device)[:, None]
    embeddings, scores = proposals.class_embeddings, proposals.scores
    return MaskProposals(
        proposals.mask_logits[rows, index],
        None if embeddings is None else embeddings[rows, index],
        None if scores is None else scores[rows, index],
    )
