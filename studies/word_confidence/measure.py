"""Evidence for drawn words over a set of pictures, a calibration of it, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.clip.unrelated import unrelated_words
from denseclip.structures.word_scores import FEATURES, Calibration, digest

from .draws import KINDS, Words, draw


@dataclass
class Found:
    """What was seen of drawn words.

    Attributes:
        evidence: One row per word.
        ranks: Score of each word without a calibration.
        kinds: Of each word, see :data:`KINDS`.
        pictures: Number of the picture of each word.
        words: The words.
    """

    evidence: list[np.ndarray] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __iadd__(self, other: Found) -> Found:
        offset = 1 + max(self.pictures, default=-1)
        self.evidence += other.evidence
        self.ranks += other.ranks
        self.kinds += other.kinds
        self.pictures += [p + offset for p in other.pictures]
        self.words += other.words
        return self

    @property
    def true(self) -> np.ndarray:
        """Which words are there, bool."""
        return np.array([kind == 'true' for kind in self.kinds])


def look(
    inferencer: Inferencer,
    pictures: Sequence[tuple[Any, np.ndarray]] | Iterator[tuple[Any, np.ndarray]],
    words: Words,
    rng: np.random.Generator,
    counts: tuple[int, int] | None = (5, 5),
) -> Found:
    """Ask for drawn words in every picture.

    Args:
        inferencer: Without a calibration.
        pictures: Pictures, and the part of each that every class covers.
        words: To draw from.
        rng: Source of randomness.
        counts: Words that are there, and that are not; None: 0 to 6 of both, drawn.
    """
    found = Found()
    for number, (picture, shares) in enumerate(pictures):
        there, absent = counts or (int(rng.integers(0, 7)), int(rng.integers(1, 7)))
        names, kinds = draw(rng, words, shares, there, absent)
        result = inferencer.segment(picture, names, channel_order='rgb')
        if result.evidence is None or result.scores is None:
            raise UserError(f'{type(inferencer.model).__name__} compares no pixels with texts: nothing to calibrate.')
        found.evidence += list(result.evidence)
        found.ranks += result.scores[: len(names)].tolist()
        found.kinds += kinds
        found.pictures += [number] * len(names)
        found.words += names
    return found


def fit(found: Found, about: dict[str, Any]) -> Calibration:
    """A logistic regression of presence on the evidence; both answers weigh the same, features that do harm nothing."""
    from sklearn.linear_model import LogisticRegression

    evidence = np.stack(found.evidence)
    helps = np.ones(len(FEATURES), dtype=bool)
    while True:
        model = LogisticRegression(C=1.0, class_weight='balanced', max_iter=1000)
        model.fit(evidence * helps, found.true)
        if not (model.coef_[0] < 0).any():
            break
        helps &= model.coef_[0] > 0
    weights = tuple(round(float(w), 4) for w in model.coef_[0])
    return Calibration(weights, round(float(model.intercept_[0]), 4), FEATURES, digest(unrelated_words()), about)


def confidences(found: Found, calibration: Calibration | None) -> np.ndarray:
    """Scores of the words: calibrated, or their ranks."""
    import torch

    if calibration is None:
        return np.array(found.ranks)
    return calibration.confidence(torch.tensor(np.stack(found.evidence))).numpy()


def quality(found: Found, scores: np.ndarray, chance: float) -> dict[str, float]:
    """Areas under the ROC curve (pooled, per picture, against each kind of absent words) and errors at chance."""
    from sklearn.metrics import roc_auc_score

    true, kinds, pictures = found.true, np.array(found.kinds), np.array(found.pictures)
    out = {'pooled': roc_auc_score(true, scores)}
    each = [
        roc_auc_score(true[p], scores[p]) for p in map(pictures.__eq__, np.unique(pictures)) if 0 < true[p].mean() < 1
    ]
    out['per picture'] = float(np.mean(each))
    for kind in KINDS[1:]:
        some = true | (kinds == kind)
        if (kinds == kind).any():
            out[kind] = roc_auc_score(true[some], scores[some])
    out['true called chance'] = float((scores[true] < chance).mean())
    for kind in KINDS[1:]:
        if (kinds == kind).any():
            out[f'{kind} not called chance'] = float((scores[kinds == kind] >= chance).mean())
    out['brier'] = float(np.mean((scores - true) ** 2))
    return out
