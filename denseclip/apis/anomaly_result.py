"""What an anomaly model says about a picture: a map, a score, areas, and files of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.images import Picture
from denseclip.apis.results.base import Region, Result
from denseclip.files.names import shown
from denseclip.visualization.anomaly_pictures import Box, areas_of, boxes_of, draw_boxes, draw_outline, heat_overlay

LIMIT = 0.5
"""Calibrated score at which the usual ends."""

_HOT = 0.75

DEFECT = 'anomaly'
"""Name of the one class of defects."""


@dataclass(frozen=True, eq=False)
class AnomalyResult(Result):
    """What a model says about one picture; ``anomaly_map`` and ``pred_score`` mean what anomalib means by them.

    Attributes:
        anomaly_map: Raw score of every pixel, float32, shape (H, W) of the picture.
        pred_score: Raw score of the picture.
        image: The picture, RGB, uint8, shape (H, W, 3).
        source: Its file, if it came from one.
        pixels: Brings raw pixel scores to 0..1.
        pictures: Brings raw picture scores to 0..1.
        threshold: Calibrated score from which on a pixel counts as anomalous.
        anomalous: The verdict, where there is one; the threshold agrees with it: a flagged picture has an area, and
            another has none.
        words: For each of :meth:`boxes`, what its area looks like: words with scores, the highest first.
    """

    kind: ClassVar[str] = 'anomaly'

    anomaly_map: np.ndarray
    pred_score: float
    image: np.ndarray
    source: Path | None
    pixels: Calibration
    pictures: Calibration
    threshold: float = LIMIT
    anomalous: bool | None = None
    words: tuple[tuple[tuple[str, float], ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """One class, ``'anomaly'``."""
        return (DEFECT,)

    @property
    def scores(self) -> np.ndarray:  # type: ignore[override]
        """:attr:`score` as an array of one, ``float32``."""
        return np.array([self.score], dtype=np.float32)

    @property
    def score(self) -> float:
        """Calibrated score of the picture, 0..1."""
        return float(self.pictures(self.pred_score))

    @property
    def score_map(self) -> np.ndarray:
        """Calibrated score of every pixel, 0..1, float32, shape (H, W)."""
        return self._calibrated.copy()

    @cached_property
    def _calibrated(self) -> np.ndarray:
        return self.pixels(self.anomaly_map).astype(np.float32)

    def mask(self, threshold: float | None = None) -> np.ndarray:
        """Pixels whose calibrated score reaches a threshold (:attr:`threshold` by default), bool, shape (H, W)."""
        return self.anomaly_map >= self.pixels.raw(self.threshold if threshold is None else threshold)

    def boxes(self, threshold: float | None = None) -> list[Box]:
        """Boxes around the connected areas of :meth:`mask`, highest calibrated score first."""
        return boxes_of(self.mask(threshold), self._calibrated)

    def overlay(self, threshold: float | None = None) -> Image.Image:
        """The picture with the heat of the map over it, and outlines and boxes at the threshold."""
        thickness = max(1, round(min(self.image.shape[:2]) / 300))
        heat = draw_outline(heat_overlay(self.image, self._heat()), self.mask(threshold), thickness)
        return Image.fromarray(draw_boxes(heat, self.boxes(threshold), thickness))

    def _heat(self) -> np.ndarray:
        """Scores to paint: those of a flagged picture are raised, by one factor, until its hottest place is hot."""
        scores = self._calibrated
        peak = float(scores.max())
        return scores if not self.anomalous or peak >= _HOT else scores * np.float32(_HOT / max(peak, 1e-6))

    def regions(self) -> Iterator[Region]:
        """The connected areas of :meth:`mask`, highest calibrated score first, without specks."""
        for mask, score in areas_of(self.mask(), self._calibrated):
            yield Region.of_mask(0, DEFECT, mask, score)

    def summary(self) -> str:
        """Score and number of defects, for the terminal."""
        height, width = self.image.shape[:2]
        return f'{shown(self.source)}  {width} x {height}  score {self.score:.3f}  {len(self.boxes())} areas'

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Result.to_dict`; ``score`` (calibrated) and ``raw_score`` are those of the picture."""
        said = {'score': self.score, 'raw_score': self.pred_score, 'threshold': self.threshold}
        found = {**super().to_dict(), **said}
        for entry, words in zip(found['objects'], self.words, strict=False):
            entry['words'] = {word: round(score, 4) for word, score in words}
        return found

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        force: bool = False,
        formats: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> list[Path]:
        """Write ``<stem>_heat.png``, ``<stem>_mask.png`` (0 and 255) and ``<stem>_map.tiff`` (raw scores, float32).

        Args:
            folder: See :meth:`Result.save`.
            stem: See there.
            force: See there.
            formats: See there.
            threshold: Calibrated score of masks and outlines in place of :attr:`threshold`.

        Raises:
            UserError: See there.
        """
        shown = self if threshold is None else replace(self, threshold=threshold)
        return super(AnomalyResult, shown).save(folder, stem, force, formats)


def mask_picture(mask: np.ndarray) -> Image.Image:
    """A mask as a picture of 0 and 255."""
    return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))


def encode(picture: Image.Image, suffix: str) -> bytes:
    """A picture as the content of a file: ``.png``, ``.jpg`` or ``.tiff``."""
    out = io.BytesIO()
    kind, options = {'.png': ('PNG', {}), '.jpg': ('JPEG', {'quality': 90}), '.tiff': ('TIFF', {})}[suffix]
    picture.save(out, kind, **options)
    return out.getvalue()


def result_of(picture: Picture, scores: np.ndarray, score: float) -> AnomalyResult:
    """A result calibrated by itself.

    Args:
        picture: The picture.
        scores: Raw map in its size, float32.
        score: Raw score.
    """
    own = Calibration.of_quantiles(lambda share: float(np.quantile(scores, share)))
    return AnomalyResult(scores, score, picture.rgb, picture.source, own, Calibration.of_scores([score]))
