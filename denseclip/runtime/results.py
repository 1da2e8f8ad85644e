"""From what a graph says of the windows of a picture to labels and confidences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from denseclip.apis.confidence import Wishes
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.confidences import (
    Confidences,
    Window,
    best_of_rows,
    confidences,
    logsumexp,
    places_inside,
    softmax,
)
from denseclip.runtime.label_maps import Box, best_class, full_scores, label_map, label_type
from denseclip.runtime.manifest import Scores
from denseclip.runtime.resizing import Size
from denseclip.structures.word_scores import Calibration


@dataclass(frozen=True)
class Unrelated:
    """Words that confidences are taken against.

    Attributes:
        words: The words.
        rows: A row for each, whose products with the graph's ``pixels`` are scores in units of a softmax.
    """

    words: tuple[str, ...]
    rows: np.ndarray

    def without(self, vocabulary: Vocabulary) -> np.ndarray:
        """Rows of those that are no names of a vocabulary."""
        own = {name.casefold() for group in vocabulary.name_groups for name in group}
        return self.rows[[word.casefold() not in own for word in self.words]]


@dataclass(frozen=True)
class Asked:
    """What a call tells apart.

    Attributes:
        vocabulary: The classes.
        text: Their embeddings; None for models without words.
        groups: Class of each row of ``scores`` as the graph gives them.
    """

    vocabulary: Vocabulary
    text: np.ndarray | None
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """What the graph says of a picture.

    Attributes:
        scores: Of each window.
        pixels: Of each window; None where confidences need none, or are not wanted.
        boxes: Where the windows lie in the network's input.
        size: Of the network's input.
        valid: The part of it without padding.
        out: Size of the result.

    Shape:
        - scores: :math:`(P, h, w)` each; pixels: :math:`(C, h, w)` each
    """

    scores: list[np.ndarray]
    pixels: list[np.ndarray] | None
    boxes: list[Box]
    size: Size
    valid: Box
    out: Size


@dataclass(frozen=True)
class Answer:
    """Labels of a picture, and what else was wished for.

    Attributes:
        labels: In the result's size; one more than the last class where all were left out.
        confidences: Of the classes; None: not wished for.
        left_out: Classes that were left out, bool (K,).
        pixel_scores: (K, H, W); None: not wished for.
        decided_by: Which part of a two-stage model a class is owed to, by its name.
    """

    labels: np.ndarray
    confidences: Confidences | None
    left_out: np.ndarray
    pixel_scores: np.ndarray | None
    decided_by: Mapping[str, str] = field(default_factory=dict)


def answer(
    seen: Seen,
    asked: Asked,
    meaning: Scores,
    unrelated: Unrelated | None,
    calibration: Calibration | None,
    wishes: Wishes,
) -> Answer:
    """Labels and confidences of one picture.

    Args:
        seen: What the graph says.
        asked: What is told apart.
        meaning: What its scores are.
        unrelated: For confidences; None where the model cannot score other words.
        calibration: Of confidences.
        wishes: What is wanted besides labels.
    """
    work = _Picture(_enlarged(seen) if meaning.full and wishes.scores else seen, asked, meaning)
    count = work.classes
    if not wishes.scores:
        return Answer(work.labels(np.zeros(count, dtype=bool)), None, np.zeros(count, dtype=bool), None)
    rows = None if unrelated is None else unrelated.without(asked.vocabulary)
    found = confidences(work.windows(), rows, calibration, work.groups)
    labels, left_out = wanted(work.labels, count, asked.vocabulary, found, wishes)
    planes = work.pixel_scores(left_out) if wishes.pixel_scores else None
    return Answer(labels, found, left_out, planes)


def _enlarged(seen: Seen) -> Seen:
    """The same with the scores of pixels, (K, H, W)."""
    whole = (0, seen.out[0], 0, seen.out[1])
    scores = full_scores(seen.scores, seen.boxes, seen.size, seen.valid, seen.out)
    return Seen([scores], None, [whole], seen.out, whole, seen.out)


def wanted(
    label: Callable[[np.ndarray], np.ndarray], count: int, vocabulary: Vocabulary, found: Confidences, wishes: Wishes
) -> tuple[np.ndarray, np.ndarray]:
    """Labels without the classes that are not sure or not large enough; those classes.

    Their pixels go to the next best class; areas are looked at once, so what a class inherits does not save it.

    Args:
        label: Makes labels without some classes, bool (K,).
        count: K, also the label where all are left out.
        vocabulary: The classes.
        found: How sure the model is of each.
        wishes: What is wanted.
    """
    background = len(vocabulary) if vocabulary.background_names else None
    least = -np.inf if wishes.min_confidence is None else wishes.min_confidence
    left_out = found.scores < least  # what is not known stays
    if background is not None:
        left_out[background] = False
    labels = label(left_out if not left_out.all() else np.zeros_like(left_out))
    if wishes.min_area is not None and not left_out.all():
        areas = np.bincount(labels.reshape(-1), minlength=len(left_out))[: len(left_out)]
        small = (areas < wishes.min_area * labels.size) & ~left_out
        if background is not None:
            small[background] = False
        left_out = left_out | small
        if (small & (areas > 0)).any() and not left_out.all():
            labels = label(left_out)
    return (np.full_like(labels, count) if left_out.all() else labels), left_out


class _Picture:
    """One picture on its way to labels.

    Args:
        seen: What the graph says.
        asked: What is told apart.
        meaning: What its scores are.
    """

    def __init__(self, seen: Seen, asked: Asked, meaning: Scores) -> None:
        self.seen, self.asked, self.meaning = seen, asked, meaning
        self.place = (seen.boxes, seen.size, seen.valid, seen.out)
        self.groups = asked.groups
        self.planes = seen.scores
        if meaning.kind == 'probabilities':  # of classes before windows are averaged, as the model does it
            self.planes = [best_of_rows(scores, asked.groups) for scores in seen.scores]
            self.groups = tuple(range(len(self.planes[0])))
        self.classes = max(self.groups) + 1

    def windows(self) -> list[Window]:
        """What confidences are made of."""
        found = []
        inside = [
            places_inside((s.shape[1], s.shape[2]), box, self.seen.valid)
            for s, box in zip(self.seen.scores, self.seen.boxes, strict=True)
        ]
        if not any(mask.any() for mask in inside):
            inside = [np.ones_like(mask) for mask in inside]
        pixels: Sequence[np.ndarray | None] = (None,) * len(inside) if self.seen.pixels is None else self.seen.pixels
        for scores, vectors, mask in zip(self.planes, pixels, inside, strict=True):
            offset = None
            if self.meaning.kind == 'probabilities':
                if vectors is not None and self.asked.text is not None:
                    offset = logsumexp(self.meaning.scale * np.tensordot(self.asked.text, vectors, axes=1))
                units = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
            else:
                units = scores * np.float32(self.meaning.scale)
            found.append(Window(units, vectors, offset, mask))
        return found

    def labels(self, left_out: np.ndarray) -> np.ndarray:
        """Label map without some classes."""
        planes = self._without(left_out)
        return label_map(planes, *self.place, self._decider(), self.classes + 1)

    def pixel_scores(self, left_out: np.ndarray) -> np.ndarray:
        """Probabilities of the classes at all pixels, zeros of those left out."""
        if left_out.all():
            return np.zeros((self.classes, *self.seen.out), dtype=np.float32)
        planes = full_scores(self._without(left_out), *self.place)
        if self.meaning.kind == 'probabilities':
            found = planes
        elif self.meaning.kind == 'cosines':
            found = best_of_rows(softmax(planes * np.float32(self.meaning.scale)), self.groups)
        else:
            found = softmax(np.where(left_out[:, None, None], -np.inf, planes))
        if self.meaning.normalize:
            found = found / np.maximum(found.sum(axis=0, keepdims=True), np.finfo(found.dtype).tiny)
        found[left_out] = 0
        return found

    def _without(self, left_out: np.ndarray) -> list[np.ndarray]:
        """Scores with some classes below all others, so that they win nowhere."""
        if not left_out.any():
            return self.planes
        rows = left_out[list(self.groups)]
        low = min(float(scores.min()) for scores in self.planes) - 1
        return [np.where(rows[:, None, None], np.float32(low), scores) for scores in self.planes]

    def _decider(self) -> Callable[[np.ndarray], np.ndarray]:
        """How scores of pixels become labels."""
        threshold, groups, scale = self.asked.vocabulary.least_score, self.groups, np.float32(self.meaning.scale)
        if threshold is not None:

            def sure(scores: np.ndarray) -> np.ndarray:
                if self.meaning.kind == 'cosines':
                    scores = best_of_rows(softmax(scores * scale), groups)
                return np.where(scores.max(axis=0) < threshold, self.classes, scores.argmax(axis=0))

            return sure
        if list(groups) == list(range(self.classes)):
            return best_class
        index = np.array(groups, dtype=label_type(self.classes))
        return lambda scores: index[scores.argmax(axis=0)]
