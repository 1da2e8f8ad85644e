"""Whether confidences mean what they say: expected calibration error and the reliability diagram.

Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015); Guo et al., "On
Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass
class Reliability:
    """Confidences of any number of predictions, kept as sums in bins of equal width.

    ``torchmetrics`` keeps every confidence until the end, which millions of pixels do not allow.

    Attributes:
        count: Predictions in each bin, (B,).
        confidence: Sum of their confidences, (B,).
        right: How many of them are right, (B,).
    """

    count: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    confidence: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    right: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(self, confidence: npt.NDArray[Any], right: npt.NDArray[Any]) -> None:
        """Take in predictions.

        Args:
            confidence: 0..1, any shape.
            right: Whether each is right, of the same shape.

        Raises:
            ValueError: If the shapes differ, or a confidence is none.
        """
        if confidence.shape != right.shape:
            raise ValueError(f'confidences {confidence.shape} and answers {right.shape} differ in shape')
        values = confidence.ravel().astype(np.float64)
        if values.size and not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
            raise ValueError(f'confidences lie in 0..1, these from {values.min():g} to {values.max():g}')
        bins = len(self.count)
        places = np.clip(np.ceil(values * bins) - 1, 0, bins - 1).astype(np.int64)
        self.count += np.bincount(places, minlength=bins)
        self.confidence += np.bincount(places, values, minlength=bins)
        self.right += np.bincount(places, right.ravel().astype(np.float64), minlength=bins)

    @property
    def total(self) -> int:
        """All predictions so far."""
        return int(self.count.sum())

    def error(self) -> float:
        """Expected calibration error, 0..1: how far confidence and accuracy of a prediction's bin lie apart."""
        return float(np.abs(self.confidence - self.right).sum() / max(self.total, 1))

    def overconfidence(self) -> float:
        """Mean confidence minus accuracy, -1..1: positive where the model is surer than it is right."""
        return float((self.confidence - self.right).sum() / max(self.total, 1))

    def rows(self) -> list[tuple[float, float, float]]:
        """Mean confidence, accuracy and share of all predictions of each bin that holds any."""
        held = self.count > 0
        count = self.count[held]
        columns = self.confidence[held] / count, self.right[held] / count, count / max(self.total, 1)
        return [(float(a), float(b), float(c)) for a, b, c in zip(*columns, strict=True)]

    def to_dict(self) -> dict[str, list[float]]:
        """Plain data for :meth:`of`."""
        return {name: getattr(self, name).tolist() for name in ('count', 'confidence', 'right')}

    @classmethod
    def of(cls, data: Mapping[str, Sequence[float]]) -> Reliability:
        """Read :meth:`to_dict`."""
        return cls(**{name: np.asarray(data[name], np.float64) for name in ('count', 'confidence', 'right')})
