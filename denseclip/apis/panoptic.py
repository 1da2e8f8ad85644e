"""The result of panoptic segmentation of one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from denseclip.apis.results.base import AreaResult, Region
from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.names import shown
from denseclip.visualization.palette import overlay_palette
from denseclip.visualization.segments import segment_titles, segments_picture


@dataclass(frozen=True)
class Segment:
    """One segment of a picture: an instance of a thing, or all of a kind of stuff.

    Attributes:
        id: its number in the map.
        title: name of the class, with a number where the picture has several of it.
        label: class index.
        is_thing: whether the class is countable.
        score: probability of the class, 0..1.
        pixels: number of pixels.
        share: part of the picture, 0..1.
    """

    id: int
    title: str
    label: int
    is_thing: bool
    score: float
    pixels: int
    share: float


@dataclass(frozen=True, eq=False)
class PanopticSegmentation(AreaResult):
    """Which segment every pixel belongs to.

    Attributes:
        ids: ``H x W`` int32 in the picture's own size; 0 for no segment, else :attr:`Segment.id`.
        segments: the segments; number ``i`` has the id ``i + 1``.
        vocabulary: the classes asked for.
        palette: RGB of every class, ``uint8``.
        image: the picture, ``H x W x 3`` RGB, ``uint8``.
        source: the picture's file, if it came from one.
        active: see :class:`Result`, as ``active_by``.
    """

    kind: ClassVar[str] = 'panoptic'

    ids: np.ndarray
    segments: tuple[Segment, ...]
    vocabulary: Vocabulary
    palette: np.ndarray
    image: np.ndarray
    source: Path | None = None
    active: Mapping[str, float | None] | None = None
    active_by: str | None = None

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Name of every class."""
        return self.vocabulary.names

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        segments_info: list[Mapping[str, Any]],
        vocabulary: Vocabulary,
        palette: np.ndarray,
        image: np.ndarray,
        source: Path | None = None,
    ) -> PanopticSegmentation:
        """From a model's map and list of segments; segments without a pixel are left out and ids are renumbered."""
        pixels = np.bincount(ids.reshape(-1), minlength=1 + max((s['id'] for s in segments_info), default=0))
        kept = [s for s in segments_info if pixels[s['id']]]
        table = np.zeros(len(pixels), dtype=np.int32)
        table[[s['id'] for s in kept]] = np.arange(1, len(kept) + 1)
        titles = segment_titles([s['category_id'] for s in kept], vocabulary.names)
        segments = tuple(
            Segment(
                number,
                title,
                int(s['category_id']),
                bool(s['isthing']),
                float(s.get('score', 1.0)),
                int(pixels[s['id']]),
                float(pixels[s['id']] / ids.size),
            )
            for number, (s, title) in enumerate(zip(kept, titles, strict=True), start=1)
        )
        return cls(table[ids], segments, vocabulary, palette, image, source)

    @property
    def scores(self) -> np.ndarray:  # type: ignore[override]
        """Probability of the class of every segment, 0..1, ``float32``."""
        return np.array([segment.score for segment in self.segments], dtype=np.float32)

    def above(self, score: float, share: float = 0.0) -> PanopticSegmentation:
        """Without the segments that score less or cover a smaller share of the picture; their pixels have none then."""
        kept = [s for s in self.segments if s.score >= score and s.share >= share]
        if len(kept) == len(self.segments):
            return self
        found: list[Mapping[str, Any]] = [
            {'id': s.id, 'category_id': s.label, 'isthing': s.is_thing, 'score': s.score} for s in kept
        ]
        ids = np.where(np.isin(self.ids, [s.id for s in kept]), self.ids, 0)
        result = type(self).of(ids, found, self.vocabulary, self.palette, self.image, self.source)
        return replace(result, active=self.active, active_by=self.active_by)

    def mask(self, title: str) -> np.ndarray:
        """Where a segment is.

        Args:
            title: such as ``'car 2'``, or a class name for all segments of the class.

        Returns:
            ``H x W`` bool.

        Raises:
            KeyError: if the picture has no such segment.
        """
        wanted = title.casefold()
        found = [
            s.id
            for s in self.segments
            if wanted in (s.title.casefold(), self.vocabulary.classes[s.label].name.casefold())
        ]
        if not found:
            titles = ', '.join(s.title for s in self.segments[:20])
            raise KeyError(f"no segment is called '{title}'; there are {titles or 'none'}")
        return np.isin(self.ids, found)

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The picture with coloured segments, outlines, names, and a legend outside it."""
        labels = [segment.label for segment in self.segments]
        names = self.vocabulary.names
        palette = overlay_palette(names, self.palette[: len(names)])
        return segments_picture(self.image, self.ids, labels, names, palette, opacity)

    def regions(self) -> Iterator[Region]:
        """The segments."""
        for s in self.segments:
            yield Region.of_mask(s.label, s.title, self.ids == s.id, s.score, s.is_thing)

    def summary(self) -> str:
        """A table of the segments, largest first, for the terminal."""
        return format_segments(self)

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Result.to_dict`; ``segments_info`` is there, too, see :meth:`segments_info`."""
        return {**super().to_dict(), 'segments_info': self.segments_info()['segments_info']}

    def segments_info(self) -> dict[str, Any]:
        """COCO's ``segments_info`` with names: what ``<stem>_panoptic.json`` holds."""
        height, width = self.ids.shape
        return {
            'width': width,
            'height': height,
            'classes': list(self.vocabulary.names),
            'segments_info': [
                {
                    'id': s.id,
                    'category_id': s.label,
                    'name': s.title,
                    'isthing': int(s.is_thing),
                    'score': round(s.score, 6),
                    'area': s.pixels,
                }
                for s in self.segments
            ],
        }


def format_segments(result: PanopticSegmentation) -> str:
    """A table of the segments of a picture, largest first, for the terminal."""
    from denseclip.visualization.legend import format_share

    height, width = result.ids.shape
    listed = sorted(result.segments, key=lambda s: (-s.pixels, s.id))
    room = max(len('(no segment)'), *(len(shown(s.title)) for s in listed)) if listed else len('(no segment)')
    lines = [
        f'{shown(result.source)}  {width} x {height}',
        f'  {"segment":<{room}}  {"pixels":>12}  {"share":>8}  {"score":>6}',
    ]
    lines += [
        f'  {shown(s.title):<{room}}  {s.pixels:>12,}  {format_share(s.share):>8}  {s.score:>6.2f}' for s in listed
    ]
    free = int((result.ids == 0).sum())
    if free:
        lines.append(f'  {"(no segment)":<{room}}  {free:>12,}  {format_share(free / result.ids.size):>8}')
    return '\n'.join([*lines, *result.chosen_lines()])
