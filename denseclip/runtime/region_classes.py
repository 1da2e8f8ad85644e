"""Classes of masks from two stages and what becomes of them, on numpy; see ``denseclip.models.functional.ensemble``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denseclip.runtime.kinds import Regions
from denseclip.structures.deciders import DECIDERS


@dataclass(frozen=True)
class MaskClasses:
    """Classes of the masks of a picture.

    Attributes:
        scores: Of both stages together.
        first: Logarithms of the first stage's probabilities.
        second: Logarithms of the second stage's; None: it was not asked.
        valid: Masks that the second stage has seen.
        filled: Masks that have a pixel.

    Shape:
        - scores, first, second: :math:`(Q, K)`; valid, filled: :math:`(Q,)`
    """

    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray | None
    valid: np.ndarray
    filled: np.ndarray

    @classmethod
    def of(
        cls, rule: Regions, first: np.ndarray, second: np.ndarray | None, valid: np.ndarray, filled: np.ndarray
    ) -> MaskClasses:
        """The weighted geometric mean of both stages, or one of them."""
        if second is None or rule.stages == 'first':
            return cls(np.exp(first), first, second, valid, filled)
        if rule.stages == 'second':
            together = np.where(valid[:, None], second, -np.inf) if valid.any() else first
        else:
            weight = np.float32(rule.weight)
            together = (1 - weight) * first + weight * np.where(valid[:, None], second, np.float32(0))
        return cls(np.exp(together).astype(np.float32), first, second, valid, filled)

    def best(self, left_out: np.ndarray | None, others: bool) -> np.ndarray:
        """Numbers of the best masks of each class: of those that the second stage has seen, else that have pixels.

        Args:
            left_out: Classes that take no part, bool (K,); None: all do.
            others: Whether the last class only stands for everything else, and has no mask of its own.
        """
        scores = self.scores if left_out is None else np.where(left_out, np.float32(-1), self.scores)
        seen = self.filled if self.second is None else self.valid
        numbers = np.flatnonzero(seen if seen.any() else self.filled)
        numbers = numbers if len(numbers) else np.arange(len(scores))
        wanted = scores[numbers][:, :-1] if others else scores[numbers]
        if left_out is not None:
            wanted = wanted[:, ~left_out[: wanted.shape[1]]]
        return numbers[np.unique(wanted.argmax(axis=0))]

    def deciders(self, numbers: np.ndarray, left_out: np.ndarray | None, names: Sequence[str]) -> dict[str, str]:
        """Who decided about the class of each of some masks, by the class's name; its best mask counts."""
        found = self.scores.argmax(axis=1)
        by_first = self.first.argmax(axis=1) == found
        by_second = (
            np.zeros_like(by_first) if self.second is None else self.valid & (self.second.argmax(axis=1) == found)
        )
        who = np.where(by_first & by_second, 0, np.where(by_first, 1, np.where(by_second, 2, 3)))
        scores = self.scores if left_out is None else np.where(left_out, np.float32(-1), self.scores)
        rising = numbers[np.argsort(scores[numbers].max(axis=1), kind='stable')]
        return {names[scores[number].argmax()]: DECIDERS[who[number]] for number in rising}


def class_logits(logits: np.ndarray, groups: Sequence[int], classes: int) -> np.ndarray:
    """Logits of names (Q, R + more) to those of classes (Q, K + more), the best name of each; the rest stays."""
    starts = np.searchsorted(np.array(groups), np.arange(classes))
    return np.concatenate(
        [np.maximum.reduceat(logits[:, : len(groups)], starts, axis=1), logits[:, len(groups) :]], axis=1
    )
