"""Pixel scores of many pictures, collected exactly or in bins, and the measures taken from them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from denseclip.evaluation.anomaly.curve import NAN, Curve, area_under, curve_of_parts
from denseclip.evaluation.anomaly.regions import region_weights


class PixelScores(Protocol):
    """What the measures ask of collected pixels."""

    num_normal: int
    num_regions: int

    def curve(self) -> Curve:
        """The curve of all pixels so far."""

    def span(self) -> tuple[np.floating, np.floating]:
        """Lowest and highest score so far, in the precision of the scores."""

    def above(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal pixels and mean region overlap strictly above each of some rising thresholds."""


def check_pair(scores: np.ndarray, mask: np.ndarray, name: str = 'the picture') -> tuple[np.ndarray, np.ndarray]:
    """Scores and mask of a picture in the form that the collectors take.

    Args:
        scores: Anomaly map, real numbers, shape (H, W).
        mask: Anywhere non-zero is anomalous, shape (H, W).
        name: The picture's file, for messages.

    Returns:
        The map as float32 or float64 and the mask as bool.

    Raises:
        ValueError: If the shapes differ, there is no pixel, or a score is NaN or infinite.
    """
    scores, mask = np.asarray(scores), np.asarray(mask)
    if scores.shape != mask.shape or scores.ndim != 2:
        raise ValueError(
            f'{name}: the anomaly map is {_size(scores)}, its mask {_size(mask)} (height x width); resize one of them '
            'where the data set is read, so that it is plain at which resolution is measured'
        )
    if not scores.size:
        raise ValueError(f'{name}: the anomaly map has no pixels')
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32)
    # one pass: any NaN or infinity makes the sum so
    if not np.isfinite(scores.sum(dtype=np.float64)):
        wrong = int((~np.isfinite(scores)).sum())
        raise ValueError(f'{name}: {wrong} of {scores.size} scores of the anomaly map are NaN or infinite')
    return scores, mask != 0


class ExactPixels:
    """Keeps every score; memory grows with the pixels (4 bytes each, 12 more for anomalous ones)."""

    def __init__(self) -> None:
        self._normal: list[np.ndarray] = []
        self._anomalous: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []
        self._sorted = False
        self.num_normal = 0
        self.num_regions = 0

    def add(self, scores: np.ndarray, mask: np.ndarray) -> None:
        """Take in a picture that :func:`check_pair` has let through."""
        weights, regions = region_weights(mask)
        self._normal.append(scores[~mask])
        self._anomalous.append(scores[mask])
        self._weights.append(weights)
        self._sorted = False
        self.num_normal += self._normal[-1].size
        self.num_regions += regions

    def merge(self, other: ExactPixels) -> None:
        """Take in what another collector has kept."""
        self._normal += other._normal
        self._anomalous += other._anomalous
        self._weights += other._weights
        self._sorted = False
        self.num_normal += other.num_normal
        self.num_regions += other.num_regions

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normal scores, sorted; anomalous scores; their weights. What was joined once is not joined again."""
        if len(self._normal) != 1 or not self._sorted:
            empty = np.zeros(0, np.float32)
            normal = np.concatenate(self._normal or [empty])
            normal.sort()
            self._normal, self._sorted = [normal], True
            self._anomalous = [np.concatenate(self._anomalous or [empty])]
            self._weights = [np.concatenate(self._weights or [np.zeros(0)])]
        return self._normal[0], self._anomalous[0], self._weights[0]

    def curve(self) -> Curve:
        """The curve of all pixels so far."""
        normal, anomalous, weights = self.parts()
        return curve_of_parts(normal, anomalous, weights, self.num_regions)

    def span(self) -> tuple[np.floating, np.floating]:
        """Lowest and highest score so far, in the precision of the scores."""
        parts = [part for part in self.parts()[:2] if part.size]
        return min(part.min() for part in parts), max(part.max() for part in parts)

    def above(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal pixels and mean region overlap strictly above each of some rising thresholds."""
        normal, anomalous, weights = self.parts()
        false = normal.size - np.searchsorted(normal, thresholds, side='right')
        return false, region_overlap(anomalous, weights, thresholds, self.num_regions)


def region_overlap(anomalous: np.ndarray, weights: np.ndarray, thresholds: np.ndarray, num_regions: int) -> np.ndarray:
    """Mean share of the regions strictly above each of some rising thresholds, shape (T,).

    Args:
        anomalous: Scores of the anomalous pixels, shape (P,).
        weights: One over the area of the region of each, shape (P,).
        thresholds: Rising, shape (T,).
        num_regions: Number of regions.
    """
    # a pixel is above the first so many thresholds: those below its score
    passed = np.searchsorted(thresholds, anomalous, side='left')
    mass = np.bincount(passed, weights=weights, minlength=thresholds.size + 1)
    return mass[::-1].cumsum()[::-1][1:] / max(num_regions, 1)


def aupro_200(pixels: PixelScores, limit: float = 0.3, steps: int = 200) -> float:
    """AUPRO as AnoVL's evaluation script computes it, for comparison with its tables.

    ``steps`` equally spaced thresholds, points with a false-positive rate below the limit, that rate stretched to 0..1.
    Differs from :func:`~denseclip.evaluation.anomaly.curve.aupro` by up to 0.01, and by half when one pixel is an
    outlier.

    Args:
        pixels: Scores of all pictures of a class. Their precision decides the last thresholds, as it does there.
        limit: Upper end of the false-positive rate.
        steps: Number of thresholds.

    Returns:
        0..1; NaN where the script fails: constant maps, perfect two-level maps, no region, no normal pixel.
    """
    if not pixels.num_regions or not pixels.num_normal:
        return NAN
    low, high = pixels.span()
    if not high > low:
        return NAN
    thresholds = np.arange(low, high, (high - low) / steps)
    false, overlap = pixels.above(thresholds)
    rate = false / pixels.num_normal
    kept = rate < limit
    rate, overlap = rate[kept][::-1], overlap[kept][::-1]
    if not rate.size or rate[-1] == rate[0]:
        return NAN
    return area_under((rate - rate[0]) / (rate[-1] - rate[0]), overlap)


def _size(array: np.ndarray) -> str:
    return ' x '.join(map(str, array.shape)) or 'a single number'
