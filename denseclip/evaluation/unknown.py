"""How well a score tells pixels of unknown classes from those of known ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from denseclip.evaluation.anomaly.binned import BinnedPixels
from denseclip.evaluation.anomaly.curve import auroc


class UnknownPixels:
    """Scores of pixels whose class the model was told of, and of others; memory does not grow with their number."""

    def __init__(self) -> None:
        self._pixels = BinnedPixels()

    def add(self, scores: npt.NDArray[Any], unknown: npt.NDArray[np.bool_]) -> None:
        """Take in pixels.

        Args:
            scores: Higher means rather unknown, (P,).
            unknown: Which are, (P,).
        """
        if scores.size:
            self._pixels.add(scores.astype(np.float32)[None], unknown[None])

    def auroc(self) -> float:
        """Chance that an unknown pixel scores higher than a known one, 0..1; NaN unless there are both."""
        return auroc(self._pixels.curve())


def strangeness(probabilities: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """What probabilities say of being none of the classes; higher means rather none.

    Source: the maximal softmax probability is the baseline of Hendrycks & Gimpel (ICLR 2017).

    Args:
        probabilities: (K, P).

    Returns:
        ``'max'``: one minus the best probability; ``'entropy'``: of the classes, 0..1; both (P,).
    """
    tiny = np.finfo(np.float32).tiny
    raised = np.maximum(probabilities, tiny)  # where all are zero, all are equally likely
    shares = raised / raised.sum(axis=0, keepdims=True)
    entropy = -(shares * np.log(np.maximum(shares, tiny))).sum(axis=0) / np.log(max(len(shares), 2))
    return {'max': 1 - probabilities.max(axis=0), 'entropy': entropy}
