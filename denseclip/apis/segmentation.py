"""The result of segmenting one picture."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from denseclip.apis.results.base import Region, Result
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization.overlay import overlay_picture
from denseclip.visualization.palette import overlay_palette

BACKGROUND_NAME = 'background'


def result_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Name of every label that a result can hold: the classes, then the background when the policy makes one."""
    return vocabulary.names if vocabulary.background == 'none' else (*vocabulary.names, BACKGROUND_NAME)


@dataclass(frozen=True)
class ClassArea:
    """How much of a picture one class covers.

    Attributes:
        name: class name.
        label: its number in the label map.
        pixels: number of pixels.
        share: part of the picture, 0..1.
    """

    name: str
    label: int
    pixels: int
    share: float


@dataclass(frozen=True, eq=False)
class Segmentation(Result):
    """What is where in a picture.

    Attributes:
        label_map: ``H x W`` integers in the picture's own size; ``uint8`` up to 255 labels, then ``int16``, ``int32``.
        vocabulary: the classes asked for; label ``k`` is class ``k``, and ``len(vocabulary)`` the background, if any.
        palette: RGB of every label, ``uint8``.
        image: the picture, ``H x W x 3`` RGB, ``uint8``.
        source: the picture's file, if it came from one.
        decided_by: which part of a two-stage model a class is owed to, by class name; empty for other models.
    """

    kind: ClassVar[str] = 'semantic'

    label_map: np.ndarray
    vocabulary: Vocabulary
    palette: np.ndarray
    image: np.ndarray
    source: Path | None = None
    decided_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Name of every label."""
        return result_names(self.vocabulary)

    def areas(self) -> list[ClassArea]:
        """Pixels and share of every class, in label order; classes that were not found have 0."""
        counts = np.bincount(self.label_map.reshape(-1), minlength=len(self.names))
        total = self.label_map.size
        return [ClassArea(n, k, int(counts[k]), float(counts[k] / total)) for k, n in enumerate(self.names)]

    def mask(self, name: str) -> np.ndarray:
        """Where a class is.

        Args:
            name: class name or one of its synonyms; case does not count.

        Returns:
            ``H x W`` bool.

        Raises:
            KeyError: if no class has this name; the message suggests the nearest.
        """
        labels = dict(self._labels_by_name())
        label = labels.get(name.casefold())
        if label is None:
            near = difflib.get_close_matches(name.casefold(), labels, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ''
            raise KeyError(f"no class is called '{name}'{hint} Classes: {', '.join(self.names[:20])}")
        return self.label_map == label

    def _labels_by_name(self) -> Iterator[tuple[str, int]]:
        if len(self.names) > len(self.vocabulary):
            yield BACKGROUND_NAME, len(self.vocabulary)
        for label, entry in enumerate(self.vocabulary.classes):
            for name in entry.names:
                yield name.casefold(), label

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The picture with coloured areas, their names, and a legend outside it.

        Args:
            opacity: of the class colours, 0..1.
        """
        background = len(self.vocabulary) if len(self.names) > len(self.vocabulary) else None
        palette = overlay_palette(self.names, self.palette, background)
        return overlay_picture(self.image, self.label_map, self.names, palette, opacity, background)

    def regions(self) -> Iterator[Region]:
        """The classes that were found, in label order; not the background."""
        counts = np.bincount(self.label_map.reshape(-1), minlength=len(self.names))
        for label, name in enumerate(self.vocabulary.names):
            if counts[label]:
                yield Region.of_mask(label, name, self.label_map == label)

    def areas_csv(self) -> str:
        """Label, class, pixels and share of every class, as a table."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        more = ['decided by'] if self.decided_by else []
        writer.writerow(['label', 'class', 'pixels', 'share', *more])
        for area in self.areas():
            who = [self.decided_by.get(area.name, '')] if self.decided_by else []
            writer.writerow([area.label, area.name, area.pixels, f'{area.share:.6f}', *who])
        return text.getvalue()
