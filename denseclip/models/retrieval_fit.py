"""Make a head of support regions of labelled pictures, and say what such heads do on pictures held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.picture_classifier import PictureFit

from .pixel_fit import Choice, confusion, mean_iou
from .pixel_head import PixelTexts
from .pixel_samples import Cells, LabelledPicture
from .retrieval_head import PixelRNSHead

_HELD = 60_000  # cells that are kept to judge on, of all pictures together
_JUDGED = 20  # pictures that are held out, each in turn


@dataclass(frozen=True)
class Regions:
    """Regions of one picture.

    Attributes:
        rows: Unit-length embeddings.
        owners: Their classes.

    Shape:
        - rows: :math:`(R, D)`; owners: :math:`(R,)`
    """

    rows: Tensor
    owners: Tensor


class RegionGathering:
    """Takes one labelled picture after the other; keeps a region of each of its classes, and some cells to judge on.

    Args:
        vocabulary: The classes.
        pictures: How many there will be.
        seed: Of the choice of the cells that are kept, and of the classifiers.

    Attributes:
        wants_regions: Whether pictures need the sums over the regions of their classes.
    """

    wants_regions = True

    def __init__(self, vocabulary: Vocabulary, pictures: int, seed: int = 0) -> None:
        self.vocabulary = vocabulary
        self.kept: list[Cells] = []
        self.regions: list[Regions] = []
        self.halves = pictures == 1
        self.texts: list[PixelTexts] = []
        self.fit = PictureFit(seed=seed)
        self._whole: list[Regions] = []
        self._each = max(_HELD // max(min(pictures, _JUDGED), 1), 50)
        self._random = torch.Generator(device='cpu').manual_seed(seed)

    def add(self, seen: LabelledPicture) -> None:
        """One more picture; a single one counts as its left and its right half."""
        assert seen.regions is not None
        cells, whole = seen.cells, regions_in(seen.regions.sum(dim=0))
        left = cells.columns < 0.5
        self.regions += [regions_in(half) for half in seen.regions] if self.halves else [whole]
        if self.halves:
            self._whole = [whole]
        for group in (cells[left], cells[~left]) if self.halves else (cells,):
            if len(self.kept) < _JUDGED:
                some = torch.randperm(len(group.labels), generator=self._random)[: self._each]
                self.kept.append(group[some])
                assert seen.texts is not None
                self.texts.append(PixelTexts(seen.texts.embeddings[:1].float().cpu(), seen.texts.scale))

    def head(self, space: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> tuple[PixelRNSHead, Choice]:
        """The head of all that was gathered, and what such heads say of each picture when it is held out.

        Args:
            space: See :func:`denseclip.models.pixel_head.feature_space`.
            facts: See :class:`PixelRNSHead`.

        Raises:
            ValueError: If no pixel has a class.
        """
        head = self._head(self._whole if self.halves else self.regions, space, facts)
        return head, self._judge()

    def _head(
        self, regions: Sequence[Regions], space: Mapping[str, str], facts: Mapping[str, Any] | None = None
    ) -> PixelRNSHead:
        if not any(len(part.owners) for part in regions):
            raise ValueError('no pixel of the pictures has a class')
        rows, owners = torch.cat([part.rows for part in regions]), torch.cat([part.owners for part in regions])
        seen = owners.unique()
        names = tuple(self.vocabulary.names[k] for k in seen.tolist())
        place = torch.searchsorted(seen, owners)
        return PixelRNSHead(names, rows, place, space, self.vocabulary, self.fit, facts or {})

    def _judge(self) -> Choice:
        """Cells of each picture by a classifier of the others' regions, and by the words."""
        classes = len(self.vocabulary)
        tables = torch.zeros(2, classes, classes, dtype=torch.long, device='cpu')
        for number, (cells, texts) in enumerate(zip(self.kept, self.texts, strict=True)):
            others = [part for k, part in enumerate(self.regions) if k != number]
            if not len(cells.labels) or not any(len(part.owners) for part in others):
                continue
            guesses = cells.logits.argmax(dim=1)
            found = self._head(others, {}).classifier(cells.features, guesses, self.vocabulary, texts)
            scores = cells.features @ found.weight + found.bias
            tables[0] += confusion(scores[:, :classes].argmax(dim=1), cells.labels, classes)
            tables[1] += confusion(cells.logits[:, :classes].argmax(dim=1), cells.labels, classes)
        return Choice(miou=mean_iou(tables[0]), text_miou=mean_iou(tables[1]))


def regions_in(sums: Tensor) -> Regions:
    """The regions of a picture, of the sums (K, D) of its pixels by class; zeros are no region."""
    owners = (sums != 0).any(dim=1).nonzero()[:, 0]
    return Regions(F.normalize(sums[owners].double(), dim=1).float(), owners)
