"""A head of support regions: each picture gets a classifier of its own, of regions like it and of the words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Box, Placement, Size, size_of
from denseclip.core.precision import full_precision
from denseclip.models.functional.picture_classifier import PictureFit, fit_rows, picture_rows

from .pixel_head import KnowsClasses, PixelTexts, Recorder
from .pixel_samples import head_of, passing
from .pixel_trail import frame

_NEEDS_TEXTS = 'a head of regions needs the embeddings of the words.'


@dataclass(eq=False)
class PixelRNSHead(KnowsClasses):
    """Support regions, of which each picture retrieves those that are like its cells.

    Source: "Retrieve and Segment" (Aravanis et al., CVPR 2026).

    Attributes:
        names: Classes with regions.
        regions: Unit-length mean embedding of each class in each labelled picture that shows it.
        owners: Number of the class of each region.
        space: What the embeddings belong to, see :func:`denseclip.models.pixel_head.feature_space`.
        vocabulary: Words that the head was made with.
        fit: How classifiers are fitted.
        facts: What else a reader of the file may want to know.

    Shape:
        - regions: :math:`(R, D)`; owners: :math:`(R,)`, int64
    """

    names: tuple[str, ...]
    regions: Tensor
    owners: Tensor
    space: Mapping[str, str]
    vocabulary: Vocabulary
    fit: PictureFit = PictureFit()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def classifier(self, features: Tensor, guesses: Tensor, vocabulary: Vocabulary, texts: PixelTexts) -> LinearHead:
        """The classifier of one picture.

        Args:
            features: Unit-length cells of the picture.
            guesses: Class of each by the words.
            vocabulary: What the classes are; those beyond it (a background with prompts) come last.
            texts: What the cells were compared with, of one picture.

        Shape:
            - features: :math:`(n, D)`; guesses: :math:`(n,)`
        """
        labels, own = (part.to(features.device) for part in self.classes_of(vocabulary))
        place = torch.full((len(self.names),), -1, dtype=torch.long, device=features.device).index_copy_(0, own, labels)
        owners = place[self.owners.to(features.device)]
        known = owners >= 0
        words = F.normalize(texts.embeddings[0].float(), dim=1)
        regions = self.regions.to(features.device)[known]
        with full_precision(features.device.type):
            rows = picture_rows(features, guesses, regions, owners[known], words, texts.scale, self.fit)
            return LinearHead(*fit_rows(rows, self.fit))

    def classifier_of(self, windows: Iterable[tuple[Recorder, Tensor]], vocabulary: Vocabulary) -> LinearHead:
        """The classifier of one picture that is labelled in windows.

        Args:
            windows: What passes in each, and which of its cells show something of the picture, (h, w) bool.
            vocabulary: See :meth:`classifier`.

        Raises:
            ValueError: If nobody says what pixels were compared with.
        """
        parts, texts = [], None
        for seen, inside in windows:
            assert seen.features is not None and seen.logits is not None
            chosen = inside.flatten().to(seen.features.device)
            parts.append(_cells(seen.logits[0], seen.features[0], chosen))
            texts = seen.texts
        if texts is None:
            raise ValueError(_NEEDS_TEXTS)
        features, guesses = (torch.cat(part) for part in zip(*parts, strict=True))
        return self.classifier(features, guesses, vocabulary, texts)

    def __call__(
        self,
        logits: Tensor,
        features: Tensor,
        vocabulary: Vocabulary,
        texts: PixelTexts | None = None,
        inside: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """See :class:`~denseclip.models.pixel_head.PixelHead`; each item of a batch is a picture.

        ``inside`` says which cells of each picture are no padding, (h, w) bool; None: all.

        Raises:
            ValueError: If nobody says what pixels were compared with.
        """
        if texts is None:
            raise ValueError(_NEEDS_TEXTS)
        found = []
        for n, (scores, cells) in enumerate(zip(logits, features, strict=True)):
            chosen = slice(None) if inside is None else inside[n].flatten().to(cells.device)
            head = self.classifier(*_cells(scores, cells, chosen), vocabulary, _of_picture(texts, n))
            found.append(head(scores[None], cells[None], vocabulary))
        return torch.cat(found)


@dataclass(eq=False)
class LinearHead:
    """A linear classifier of unit-length pixel embeddings, in place of the words.

    Attributes:
        weight: :math:`(D, K)`.
        bias: :math:`(K,)`.
    """

    weight: Tensor
    bias: Tensor

    def __call__(
        self, logits: Tensor, features: Tensor, vocabulary: Vocabulary, texts: PixelTexts | None = None
    ) -> Tensor:
        """See :class:`~denseclip.models.pixel_head.PixelHead`."""
        del vocabulary, texts
        with full_precision(features.device.type):
            scores = torch.einsum('ndhw,dk->nkhw', F.normalize(features.float(), dim=1), self.weight)
        return (scores + self.bias[:, None, None]).to(logits.dtype)


@dataclass(eq=False)
class _WholePicture:
    """A head of regions for the one picture that passes, whose padding is known."""

    head: PixelRNSHead
    placement: Placement
    box: Box

    def __call__(
        self, logits: Tensor, features: Tensor, vocabulary: Vocabulary, texts: PixelTexts | None = None
    ) -> Tensor:
        """See :class:`~denseclip.models.pixel_head.PixelHead`."""
        inside = cells_inside(self.placement, self.box, size_of(features))
        return self.head(logits, features, vocabulary, texts, [inside])


@contextmanager
def fitted_to(model: Any, inputs: Tensor, sample: Any) -> Iterator[None]:
    """Give a model with a head of regions the classifier of one picture, for a while.

    A picture in one piece is fitted to while it is labelled. Windows are run twice, since the classifier needs to have
    seen all of them.

    Args:
        model: A segmentor whose ``pixel_head`` is a :class:`PixelRNSHead`.
        inputs: The preprocessed picture, (1, 3, H, W).
        sample: Its meta information.
    """
    head: PixelRNSHead = model.pixel_head
    placement, boxes, _ = frame(model, inputs, sample)
    if len(boxes) == 1:
        with head_of(model, _WholePicture(head, placement, boxes[0])):
            yield
        return
    with head_of(model, head.classifier_of(_windows(model, inputs, sample), model.vocabulary)):
        yield


def _windows(model: Any, inputs: Tensor, sample: Any) -> Iterator[tuple[Recorder, Tensor]]:
    """What passes in each window of a picture, and which of its cells show something of the picture."""
    placement, boxes, windows = passing(model, inputs, sample)
    for box, seen in zip(boxes, windows, strict=True):
        assert seen.features is not None
        yield seen, cells_inside(placement, box, size_of(seen.features))


def cells_inside(placement: Placement, box: Box, grid: Size) -> Tensor:
    """Cells of a window that show something of the picture, ``grid``, bool."""
    assert placement.valid is not None
    top, bottom, left, right = box
    rows, columns = (
        (start + (torch.arange(count, device='cpu') + 1) * length / count > first)
        & (start + torch.arange(count, device='cpu') * length / count < last)
        for start, length, count, (first, last) in (
            (top, bottom - top, grid[0], placement.valid[:2]),
            (left, right - left, grid[1], placement.valid[2:]),
        )
    )
    return rows[:, None] & columns


def _cells(logits: Tensor, features: Tensor, chosen: Any) -> tuple[Tensor, Tensor]:
    """Unit-length embeddings (n, D) and best classes (n,) of some cells of (K, h, w) and (D, h, w)."""
    unit = F.normalize(features.float().flatten(1).T, dim=1)
    return unit[chosen], logits.argmax(dim=0).flatten()[chosen]


def _of_picture(texts: PixelTexts, number: int) -> PixelTexts:
    rows = texts.embeddings
    return PixelTexts(rows[number : number + 1] if len(rows) > 1 else rows, texts.scale)
