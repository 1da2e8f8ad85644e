"""The result of segmenting one picture."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from denseclip.apis.area_table import format_areas
from denseclip.apis.results.base import AreaResult, Region
from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.names import shown
from denseclip.structures.word_scores import CHANCES, score_title

BACKGROUND_NAME = 'background'
NOTHING_NAME = 'nothing'
"""Name of pixels of no class, where all classes were left out."""
BY_CHANCE, LEFT_OUT, NOT_ACTIVE = 'no better than chance', 'left out', 'took no part'
_NOTHING_COLOUR = (128, 128, 128)


def with_no_class(names: Sequence[str], called: str = BACKGROUND_NAME) -> tuple[str, ...]:
    """Names of the classes, and one more for pixels of none.

    Args:
        names: Of the classes.
        called: What it is called; ``no class`` where a class has this name, in any case.
    """
    taken = {name.casefold() for name in names}
    others = ('no class' if number == 1 else f'no class {number}' for number in itertools.count(1))
    return (*names, next(name for name in itertools.chain([called], others) if name not in taken))


def result_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Name of every label that a result can hold: the classes, then the background when the policy makes one."""
    return vocabulary.names if vocabulary.background == 'none' else with_no_class(vocabulary.names)


@dataclass(frozen=True)
class ClassArea:
    """How much of a picture one class covers.

    Attributes:
        name: class name.
        label: its number in the label map.
        pixels: number of pixels.
        share: part of the picture, 0..1.
        score: how sure the model is that the picture shows it, 0..1, see :attr:`Segmentation.scores`; None: not known.
        by_chance: whether that is no better than chance.
    """

    name: str
    label: int
    pixels: int
    share: float
    score: float | None = None
    by_chance: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation(AreaResult):
    """What is where in a picture.

    Attributes:
        label_map: ``H x W`` integers in the picture's own size; ``uint8`` up to 255 labels, then ``int16``, ``int32``.
        vocabulary: the classes asked for; label ``k`` is class ``k``, and ``len(vocabulary)`` the background, if any.
        palette: RGB of every label, ``uint8``.
        image: the picture, ``H x W x 3`` RGB, ``uint8``.
        source: the picture's file, if it came from one.
        decided_by: which part of a two-stage model a class is owed to, by class name; empty for other models.
        scores: how sure the model is that the picture shows each class, one per label in the order of :attr:`names`,
            0..1, ``float32``; NaN for labels without words. None: the model gives none.
        score_kind: what scores mean. ``'calibrated'``: the probability that the picture shows it, if as many words are
            right as wrong. ``'rank'``: the part of unrelated words that fit the picture less well. ``'probability'``:
            the best probability of any place among the classes given. Only the first is calibrated.
        left_out: classes that were left out, for their score or their area.
        pixel_scores: ``K x H x W`` probabilities of the classes at each pixel, ``float32``, if they were asked for,
            zeros of those left out; those of models that classify masks need not sum to one.
        evidence: what calibrated scores and ranks are made of, a row per class, see
            ``denseclip.models.functional.word_evidence``.
        strangeness: ``H x W``, how unlike the classes of a head of ``denseclip adapt`` each pixel is: the part of
            labelled pixels that are more like them, 0..1, ``float32``; if ``unknown`` was asked for.
        descriptions: Which descriptions the pixels of each class are most like, with cosines, best first; if the
            classes have descriptors and ``explain`` was asked for.
        active: see :class:`Result`, as ``active_by``.
    """

    kind: ClassVar[str] = 'semantic'

    label_map: np.ndarray
    vocabulary: Vocabulary
    palette: np.ndarray
    image: np.ndarray
    source: Path | None = None
    decided_by: Mapping[str, str] = field(default_factory=dict)
    scores: np.ndarray | None = None
    score_kind: str | None = None
    left_out: tuple[str, ...] = ()
    pixel_scores: np.ndarray | None = None
    evidence: np.ndarray | None = None
    strangeness: np.ndarray | None = None
    descriptions: Mapping[str, list[tuple[str, float]]] = field(default_factory=dict)
    active: Mapping[str, float | None] | None = None
    active_by: str | None = None

    def __post_init__(self) -> None:
        names = result_names(self.vocabulary)
        if self.label_map.size and int(self.label_map.max()) == len(names):
            names = with_no_class(names, NOTHING_NAME)
            object.__setattr__(self, 'palette', np.vstack([self.palette, np.array([_NOTHING_COLOUR], np.uint8)]))
        object.__setattr__(self, '_names', names)
        if self.scores is not None:
            scores = np.full(len(names), np.nan, dtype=np.float32)
            scores[: len(self.scores)] = self.scores
            object.__setattr__(self, 'scores', scores)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Name of every label: the classes, then ``background`` or ``nothing`` where there are such pixels.

        Where a class has that name, theirs is ``no class``.
        """
        return self._names  # type: ignore[attr-defined]

    def areas(self) -> list[ClassArea]:
        """Pixels and share of every class, in label order; classes that were not found have 0."""
        counts = np.bincount(self.label_map.reshape(-1), minlength=len(self.names))
        total = self.label_map.size
        doubtful = set(self.no_better_than_chance)
        return [
            ClassArea(name, k, int(counts[k]), float(counts[k] / total), self._score(k), name in doubtful)
            for k, name in enumerate(self.names)
        ]

    def _score(self, label: int) -> float | None:
        known = self.scores is not None and not np.isnan(self.scores[label])
        return float(self.scores[label]) if known else None  # type: ignore[index]

    def score(self, name: str) -> float | None:
        """How sure the model is that the picture shows a class, 0..1; None: not known.

        Args:
            name: class name or one of its synonyms; case does not count.

        Raises:
            KeyError: if no class has this name; the message suggests the nearest.
        """
        return self._score(self._label(name))

    @property
    def considered(self) -> int:
        """How many classes could take part: those asked for, and a background that has words."""
        return len(self.vocabulary) + bool(self.vocabulary.background_names)

    @property
    def no_better_than_chance(self) -> tuple[str, ...]:
        """Classes for which the picture speaks no more than for words that have nothing to do with it.

        Calibrated scores: below 0.5; ranks: below 0.95. For other scores chance is not known, and none is named.
        """
        least = CHANCES.get(self.score_kind or '')
        if least is None or self.scores is None:
            return ()
        pairs = zip(self.vocabulary.names, self.scores, strict=False)
        return tuple(name for name, score in pairs if score < least)

    def mask(self, name: str) -> np.ndarray:
        """Where a class is.

        Args:
            name: class name or one of its synonyms; case does not count.

        Returns:
            ``H x W`` bool.

        Raises:
            KeyError: if no class has this name; the message suggests the nearest.
        """
        return self.label_map == self._label(name)

    def _label(self, name: str) -> int:
        labels = dict(self._labels_by_name())
        label = labels.get(name.casefold())
        if label is None:
            near = difflib.get_close_matches(name.casefold(), labels, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ''
            raise KeyError(f"no class is called '{name}'{hint} Classes: {', '.join(self.names[:20])}")
        return label

    def _labels_by_name(self) -> Iterator[tuple[str, int]]:
        yield from ((name, k) for k, name in enumerate(self.names) if k >= len(self.vocabulary))
        for label, entry in enumerate(self.vocabulary.classes):
            for name in entry.names:
                yield name.casefold(), label

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The picture with coloured areas, their names, and a legend outside it.

        Args:
            opacity: of the class colours, 0..1.
        """
        from denseclip.visualization.overlay import overlay_picture
        from denseclip.visualization.palette import overlay_palette

        background = len(self.vocabulary) if len(self.names) > len(self.vocabulary) else None
        palette = overlay_palette(self.names, self.palette, background)
        return overlay_picture(
            self.image,
            self.label_map,
            self.names,
            palette,
            opacity,
            background,
            doubtful=self.no_better_than_chance,
            left_out=self.left_out,
        )

    def regions(self) -> Iterator[Region]:
        """The classes that were found, in label order; not the background."""
        counts = np.bincount(self.label_map.reshape(-1), minlength=len(self.names))
        for label, name in enumerate(self.vocabulary.names):
            if counts[label]:
                yield Region.of_mask(label, name, self.label_map == label, self._score(label))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Result.to_dict`; where there are scores with ``score_kind`` and ``left_out``, names and scores."""
        found = super().to_dict()
        if self.scores is not None:
            left_out = [{'class': name, 'score': self.score(name)} for name in self.left_out]
            found |= {'score_kind': self.score_kind, 'left_out': left_out}
        if self.descriptions:
            found['descriptions'] = {
                name: [{'text': text, 'score': score} for text, score in best]
                for name, best in self.descriptions.items()
            }
        return found

    def summary(self) -> str:
        """A table of the classes found, largest first, for the terminal."""
        lines = [
            f'  {shown(name)}: ' + ', '.join(f'{shown(text)} {score:.2f}' for text, score in best)
            for name, best in self.descriptions.items()
        ]
        return '\n'.join([format_areas(self), *lines])

    def areas_csv(self) -> str:
        """Label, class, pixels and share of every class, as a table."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(
            [
                *('label', 'class', 'pixels', 'share'),
                *([] if self.scores is None else [score_title(self.score_kind), 'remark']),
                *(['decided by'] if self.decided_by else []),
            ]
        )
        for area in self.areas():
            row: list[Any] = [area.label, area.name, area.pixels, f'{area.share:.6f}']
            if self.scores is not None:
                remark = LEFT_OUT if area.name in self.left_out else BY_CHANCE if area.by_chance else ''
                if self.active is not None and area.name in self.vocabulary.names and area.name not in self.active:
                    remark = NOT_ACTIVE
                row += ['' if area.score is None else f'{area.score:.4f}', remark]
            writer.writerow(row + ([self.decided_by.get(area.name, '')] if self.decided_by else []))
        return text.getvalue()
