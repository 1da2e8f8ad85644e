"""Models of masks whose likely classes are compared again by sentences that tell them apart (FuDD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from denseclip.clip.descriptions import FALLBACK
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.pair_scores import PairTable, compared_again


class ComparesPairs:
    """Mix-in, before :class:`CLIPOwner`: what :attr:`Vocabulary.differences` say of the regions of a picture.

    Attributes:
        likely: How many classes of a region are compared again.
    """

    compares_pairs = True
    likely: int = 5
    text: Any
    _pairs: tuple[Vocabulary, PairTable] | None = None

    def weights_changed(self) -> None:
        """Forget encoded text."""
        self._pairs = None
        super().weights_changed()  # type: ignore[misc]

    def compare_pairs(self, logits: Tensor, embeddings: Tensor, scale: Tensor | float) -> Tensor:
        """Logits of regions after a second look at their likeliest classes; unchanged where no words ask for one.

        Args:
            logits: Of the classes; what stands behind those of the vocabulary (background, "void") is left as it is.
            embeddings: Of the regions, in the space of the texts.
            scale: Factor of the cosines.

        Shape:
            - logits and result: :math:`(..., K)`; embeddings: :math:`(..., E)`
        """
        words = self.text.vocabulary
        if words is None or not words.differences:
            return logits
        count = len(words)
        table = self._pair_table(words, logits.device)
        again = compared_again(logits[..., :count], embeddings, table, scale, self.likely)
        return torch.cat([again, logits[..., count:]], dim=-1)

    def _pair_table(self, words: Vocabulary, device: torch.device) -> PairTable:
        if self._pairs is None or self._pairs[0] is not words or self._pairs[1].ids.device != device:
            self._pairs = words, pair_table(words, self.text.embed_texts, device)
        return self._pairs[1]


def pair_table(words: Vocabulary, encode: Any, device: torch.device) -> PairTable:
    """The sentences of all pairs of a vocabulary, each encoded once.

    Args:
        words: The classes and their differences.
        encode: Makes unit-length rows of different texts.
        device: Where the table is wanted.
    """
    place = {name.casefold(): label for label, entry in enumerate(words.classes) for name in entry.names}
    plain = [FALLBACK.format(entry.name.replace('_', ' ')) for entry in words.classes]
    number = {text: k for k, text in enumerate(dict.fromkeys(plain))}
    said: dict[tuple[int, int], list[int]] = {}
    for difference in words.differences:
        labels = [place[name.casefold()] for name in difference.classes]
        for own, (label, other) in enumerate((labels, labels[::-1])):
            rows = said.setdefault((label, other), [])
            rows += [number.setdefault(both[own], len(number)) for both in difference.sentences]
    count, most = len(words), max([1, *map(len, said.values())])
    ids = torch.full((count, count, most), -1, dtype=torch.long)
    ids[:, :, 0] = torch.tensor([number[text] for text in plain])[:, None]
    ids[range(count), range(count)] = -1
    described = torch.zeros(count, count, dtype=torch.bool)
    for (label, other), rows in said.items():
        ids[label, other, : len(rows)] = torch.tensor(rows)
        described[label, other] = True
    return PairTable(ids.to(device), encode(list(number)).float().to(device), described.to(device))
