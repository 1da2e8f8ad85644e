"""Raw anomaly scores to 0..1: the same order, 0.5 at the limit of the usual, nothing lost at either end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

FEW = 5
"""With fewer pictures than this, what is usual cannot be told from them."""

EVEN = 0.5
"""Raw score at which the models find the normal and the abnormal state equally likely."""

_STEPS = 3.0
_SIGMA = 0.8413  # share of a normal distribution below one standard deviation
_SMALLEST = 1e-6
_MANY = 20


@dataclass(frozen=True)
class Calibration:
    """``score = (1 + z / (1 + |z|)) / 2`` with ``z = (raw - limit) / spread``.

    Strictly rising and never flat, unlike a clipped min-max scaling, which makes all scores beyond its ends equal.

    Attributes:
        limit: Raw score that becomes 0.5.
        spread: Raw distance below the limit that becomes 0.25 (and above it 0.75); that is where usual scores lie.
    """

    limit: float
    spread: float

    def __call__(self, raw: np.ndarray | float) -> np.ndarray:
        """Calibrated scores, float64, in 0..1."""
        z = (np.asarray(raw, dtype=np.float64) - self.limit) / self.spread
        return 0.5 * (1 + z / (1 + np.abs(z)))

    def raw(self, score: float) -> float:
        """The raw score that a calibrated one stands for.

        Raises:
            ValueError: If it is not strictly within 0..1.
        """
        if not 0 < score < 1:
            raise ValueError(f'a calibrated score lies between 0 and 1, got {score}')
        y = 2 * score - 1
        return self.limit + self.spread * y / (1 - abs(y))

    @classmethod
    def of_quantiles(cls, quantile: Callable[[float], float]) -> Calibration:
        """Limit three standard deviations above the median, both taken from quantiles so that defects count little.

        Args:
            quantile: Share (0..1) to raw score.
        """
        middle = quantile(0.5)
        spread = max(_STEPS * (quantile(_SIGMA) - middle), _SMALLEST)
        return cls(middle + spread, spread)

    @classmethod
    def of_scores(cls, scores: Sequence[float]) -> Calibration:
        """Calibration of picture scores; around :data:`EVEN` when there are too few to tell what is usual."""
        if len(scores) < FEW:
            return cls(EVEN, 0.01)
        values = np.asarray(scores, dtype=np.float64)
        return cls.of_quantiles(lambda share: float(np.quantile(values, share)))

    @classmethod
    def of_good(cls, scores: Sequence[float]) -> Calibration:
        """Calibration of scores of good pictures alone, each scored without itself.

        The limit is that of :meth:`of_quantiles`, but never below what the good pictures show: below none of up to
        twenty, whose highest is passed by their range over their number (a next one may well be a little higher), and
        above 98 of a hundred when there are more. No defect is needed, so no F1 can collapse.

        Raises:
            ValueError: With fewer than two scores.
        """
        values = np.asarray(scores, dtype=np.float64)
        if len(values) < 2:
            raise ValueError(f'what is good cannot be told from {len(values)} score; two are the least')
        middle, highest = float(np.median(values)), float(values.max())
        shown = highest + (highest - float(values.min())) / len(values)
        if len(values) > _MANY:
            shown = float(np.quantile(values, 0.98))
        usual = cls.of_quantiles(lambda share: float(np.quantile(values, share)))
        limit = max(usual.limit, shown)
        return cls(limit, max(limit - middle, _SMALLEST))

    def of_picture(self) -> Calibration:
        """From pixel scores to scores of too few pictures: a picture's is its highest pixels', so twice as far out."""
        return Calibration(self.limit + self.spread, 2 * self.spread)
