"""Class logits of region embeddings against rows of text, several rows per class."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision

MAX_LOGIT_SCALE = 100.0


def merge_synonyms(scores: Tensor, synonyms_per_class: Tensor, how: Literal['max', 'mean'] = 'max') -> Tensor:
    """Scores of names to scores of classes.

    Args:
        scores: Scores of all names, those of a class next to each other.
        synonyms_per_class: How many names each class has, at least one; integers on the scores' device.
        how: The best name's score, or the mean.

    Raises:
        ValueError: If the numbers of names do not add up to the number of scores (seen on the CPU only, where looking
            costs nothing, and not in a graph).

    Shape:
        - scores: :math:`(..., R)`; synonyms_per_class: :math:`(K)`; result: :math:`(..., K)`
    """
    names, classes = scores.shape[-1], synonyms_per_class.shape[0]
    looks = synonyms_per_class.device.type == 'cpu' and not torch.compiler.is_compiling()
    if looks and int(synonyms_per_class.sum()) != names:
        raise ValueError(
            f'synonyms_per_class adds up to {int(synonyms_per_class.sum())} names, but there are {names} text rows '
            '(the void row not counted): text_rows and synonyms_per_class are of different vocabularies.'
        )
    if names == classes:
        return scores
    labels = synonyms_per_class.new_ones(classes).cumsum(0) - 1
    index = labels.repeat_interleave(synonyms_per_class, output_size=names).expand_as(scores)
    reduce = 'amax' if how == 'max' else 'mean'
    return scores.new_zeros((*scores.shape[:-1], classes)).scatter_reduce(-1, index, scores, reduce, include_self=False)


def text_logits(embeddings: Tensor, text_rows: Tensor, synonyms_per_class: Tensor, logit_scale: Tensor) -> Tensor:
    """Scaled cosines of region embeddings with texts, best synonym per class; the void class comes last.

    Source: FC-CLIP and MAFT+. The embeddings are normalised here, the rows are taken as they are: a text tower's rows
    come at unit length, those that MAFT+ adapts to a picture do not. Computed in float32 under autocast, where a
    cosine times 100 would lose the second digit.

    Args:
        embeddings: Embedding per region.
        text_rows: One row per name, those of a class next to each other, then the void row; for all pictures or per
            picture.
        synonyms_per_class: Number of names of each class, void not counted.
        logit_scale: Logarithm of the factor, a scalar; the factor is at most 100.

    Shape:
        - embeddings: :math:`(N, Q, D)`
        - text_rows: :math:`(R, D)` or :math:`(N, R, D)`, R names in all and void
        - result: :math:`(N, Q, K + 1)`
    """
    with full_precision(embeddings.device.type):
        dtype = logit_scale.dtype
        scale = logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        scores = scale * F.normalize(embeddings.to(dtype), dim=-1) @ text_rows.to(dtype).transpose(-2, -1)
        names, void = scores[..., :-1], scores[..., -1:]
        return torch.cat([merge_synonyms(names, synonyms_per_class), void], dim=-1)
