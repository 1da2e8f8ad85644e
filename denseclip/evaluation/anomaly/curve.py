"""Scores of a ranking, all read off one curve: AUROC, average precision, best F1, AUPRO.

Between two thresholds that no anomalous sample attains, only false positives change. So a curve is known completely
from the distinct scores of the *anomalous* samples, together with how many normal samples lie strictly above each and
how many tie with it. Pixel sets of millions thus shrink to one sort without payload, and every measure below is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAN = float('nan')


@dataclass(frozen=True)
class Curve:
    """True and false positives at falling thresholds.

    Attributes:
        thresholds: Distinct scores of anomalous samples, falling, shape (T,).
        true: Anomalous samples with ``score >= threshold``, shape (T,).
        false_above: Normal samples with ``score > threshold``, shape (T,).
        false: Normal samples with ``score >= threshold``, shape (T,).
        overlap: Mean over all regions of the share of the region with ``score >= threshold``, 0..1, shape (T,); None
            where samples are whole images.
        num_normal: All normal samples.
        num_regions: Connected anomalous regions.
    """

    thresholds: np.ndarray
    true: np.ndarray
    false_above: np.ndarray
    false: np.ndarray
    num_normal: int
    overlap: np.ndarray | None = None
    num_regions: int = 0

    @property
    def num_anomalous(self) -> int:
        """All anomalous samples."""
        return int(self.true[-1]) if self.true.size else 0


def curve_of(scores: np.ndarray, anomalous: np.ndarray) -> Curve:
    """Curve of single scores, such as those of whole images.

    Args:
        scores: Real numbers, shape (N,).
        anomalous: Which samples are anomalous, bool, shape (N,).
    """
    scores, anomalous = np.asarray(scores), np.asarray(anomalous, dtype=bool)
    return curve_of_parts(scores[~anomalous], scores[anomalous])


def curve_of_parts(
    normal: np.ndarray, anomalous: np.ndarray, weights: np.ndarray | None = None, num_regions: int = 0
) -> Curve:
    """Curve of scores that are already apart.

    Args:
        normal: Scores of the normal samples, shape (M,).
        anomalous: Scores of the anomalous samples, shape (P,).
        weights: One over the area of the region that an anomalous pixel belongs to, shape (P,); None without regions.
        num_regions: Number of regions.
    """
    order = np.argsort(anomalous, kind='stable')[::-1]
    rising = np.sort(normal)
    falling = anomalous[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if falling.size else np.zeros(0, np.int64)
    thresholds = falling[last]
    overlap = None
    if weights is not None:
        overlap = np.cumsum(weights[order], dtype=np.float64)[last] / max(num_regions, 1)
    return Curve(
        thresholds=thresholds,
        true=last + 1,
        false_above=rising.size - np.searchsorted(rising, thresholds[::-1], side='right')[::-1],
        false=rising.size - np.searchsorted(rising, thresholds[::-1], side='left')[::-1],
        num_normal=rising.size,
        overlap=overlap,
        num_regions=num_regions,
    )


def auroc(curve: Curve) -> float:
    """Area under the ROC curve, 0..1, ties counted half; NaN unless both kinds of samples are there."""
    if not curve.num_anomalous or not curve.num_normal:
        return NAN
    steps = np.diff(curve.true, prepend=0)
    below = curve.num_normal - (curve.false_above.astype(np.float64) + curve.false) / 2
    return float(steps @ below / (float(curve.num_anomalous) * curve.num_normal))


def average_precision(curve: Curve) -> float:
    """Step sum of precision over recall (scikit-learn's ``average_precision_score``), 0..1; NaN without anomalies."""
    if not curve.num_anomalous:
        return NAN
    steps = np.diff(curve.true, prepend=0)
    return float(steps @ _precision(curve) / curve.num_anomalous)


def trapezoid_average_precision(curve: Curve) -> float:
    """Trapezoid under precision over recall, 0..1; what AnoVL's script prints as image-level AP. NaN without anomalies.

    Up to 0.25 above or below the average precision on small or tied sets.
    """
    if not curve.num_anomalous:
        return NAN
    reached = np.concatenate([[0], curve.true[:-1]])
    before = reached + curve.false_above
    # the end of the curve at recall 0 counts as precision 1
    left = np.divide(reached, before, out=np.ones(before.shape), where=before > 0)
    steps = np.diff(curve.true, prepend=0)
    return float(steps @ (left + _precision(curve)) / 2 / curve.num_anomalous)


def f1_max(curve: Curve) -> tuple[float, float]:
    """Best F1 over all thresholds and a threshold that gives it.

    Returns:
        F1, 0..1, and the score from which on (``>=``) samples count as anomalous; NaN, NaN without anomalies.
    """
    if not curve.num_anomalous:
        return NAN, NAN
    f1 = 2 * curve.true / (curve.true + curve.false + curve.num_anomalous)
    best = int(f1.argmax())
    return float(f1[best]), float(curve.thresholds[best])


def aupro(curve: Curve, limit: float = 0.3) -> float:
    """Area under the per-region overlap over the false-positive rate, from 0 to ``limit``, divided by ``limit``.

    The definition of MVTec AD (Bergmann et al., IJCV 2021, section 4.2): all distinct thresholds, a straight line
    between neighbouring points, cut exactly at the limit, starting at (0, 0).

    Args:
        curve: Curve of pixels with regions.
        limit: Upper end of the false-positive rate, 0 < limit <= 1.

    Returns:
        0..1; 1 for a perfect map, ``limit / 2`` for a constant one; NaN without regions or without normal pixels.
    """
    if not 0 < limit <= 1:
        raise ValueError(f'the limit of the false-positive rate must be in 0..1, got {limit}')
    if curve.overlap is None or not curve.num_regions or not curve.num_normal:
        return NAN
    # Each threshold adds two points: the false positives that come before it, then the step at the threshold itself.
    size = 2 * curve.true.size + 2
    rate, overlap = np.zeros(size), np.zeros(size)
    rate[1:-1:2], rate[2:-1:2], rate[-1] = curve.false_above, curve.false, curve.num_normal
    overlap[3::2], overlap[2:-1:2] = curve.overlap, curve.overlap
    rate /= curve.num_normal
    inside = int(np.searchsorted(rate, limit, side='right'))
    if inside < size:  # the first point beyond the limit moves back to it on the straight line
        share = (limit - rate[inside - 1]) / (rate[inside] - rate[inside - 1])
        overlap[inside] = overlap[inside - 1] + share * (overlap[inside] - overlap[inside - 1])
        rate[inside] = limit
    return area_under(rate[: inside + 1], overlap[: inside + 1]) / limit


def area_under(x: np.ndarray, y: np.ndarray) -> float:
    """Trapezoid rule over rising ``x``."""
    return float(((y[1:] + y[:-1]) / 2) @ np.diff(x))


def _precision(curve: Curve) -> np.ndarray:
    return curve.true / (curve.true + curve.false)
