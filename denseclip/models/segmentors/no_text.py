"""What classes are not, in words: embeddings of CLIPN's second text tower, for a model that knows the classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from denseclip.clip.text import NoTextTower
from denseclip.clip.text_bank import TextBank, TextEmbeddings
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.yes_no import with_unknown


class NoText:
    """Embeddings of a vocabulary by the tower that says no, kept until the vocabulary changes.

    Args:
        tower: The tower.
        like: Bank of the classes; sentences, and where results are kept, are the same.
    """

    def __init__(self, tower: NoTextTower, like: TextBank) -> None:
        folder = None if like.cache is None else like.cache.folder
        self._of_merge = {merge: ClassEmbeddings(tower, like.templates, merge, folder) for merge in ('mean', 'max')}

    def rows(self, vocabulary: Vocabulary, merge: str, device: torch.device) -> Tensor:
        """Unit-length embeddings.

        Args:
            vocabulary: The classes.
            merge: ``'mean'``: one row per class. ``'max'``: one per name.
            device: Where they are wanted.

        Shape:
            - result: :math:`(K, E)` or :math:`(P, E)`
        """
        text = self._of_merge[merge].to(device)
        plain = replace(vocabulary, background='none')
        if text.in_use != plain:
            text.set_vocabulary(plain)
        return text().embeddings

    def scores(
        self, vocabulary: Vocabulary, text: TextEmbeddings, dense: Tensor, cosines: Tensor, scale: float, rule: str
    ) -> Tensor:
        """Scores of the classes and, last, of what is none of them.

        Args:
            vocabulary: The classes.
            text: Their embeddings.
            dense: Pixel embeddings, not normalised.
            cosines: Scores of the rows of ``text``.
            scale: Factor of the cosines before a softmax.
            rule: See :func:`denseclip.models.functional.yes_no.with_unknown`.

        Shape:
            - dense: :math:`(N, E, h, w)`; cosines: :math:`(N, P, h, w)`; result: :math:`(N, K + 1, h, w)`
        """
        no = cosine_scores(dense, self.rows(vocabulary, text.merge, dense.device))
        found = with_unknown(cosines * scale, no * scale, rule)
        return torch.cat([text.class_scores(found[:, :-1]), found[:, -1:]], dim=1)
