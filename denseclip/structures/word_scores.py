"""How sure a model is that a picture shows what a word names."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATED, RANK, PROBABILITY = 'calibrated', 'rank', 'probability'
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        CALIBRATED: 'probability that the picture shows it, if as many words are right as wrong',
        RANK: 'part of the unrelated words that fit the picture less well; this model is not calibrated',
        PROBABILITY: 'best probability of any place among the words given; this model is not calibrated',
    }
)
"""What scores can mean. All are in 0..1, and more is surer; only the first is a probability of being there."""
CHANCES: Mapping[str, float] = MappingProxyType({CALIBRATED: 0.5, RANK: 0.95})
"""Scores below which the picture speaks no more for a word than for any other. Calibrated: the evidence speaks against
it. Rank: more than one unrelated word in twenty fits as well."""
FEATURES = ('best', 'rival')
"""What calibrations weigh, in this order; see ``denseclip.models.functional.word_evidence``."""
_FORMAT = 1


def score_title(kind: str | None) -> str:
    """What a column of scores is called."""
    return 'confidence' if kind == CALIBRATED else kind or 'score'


class CalibrationError(ValueError):
    """A calibration that cannot be used."""


@dataclass(frozen=True)
class Calibration:
    """Turns evidence into a confidence: a logistic regression, fitted on pictures whose words are known.

    Attributes:
        weights: One factor per feature, none negative: more evidence never makes less sure.
        bias: Added to their sum.
        features: What the factors belong to.
        words: Digest of the unrelated words that the evidence was taken against, see :func:`digest`.
        about: How it was made: data, pictures, words, measured quality.
    """

    weights: tuple[float, ...]
    bias: float
    features: tuple[str, ...]
    words: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (*self.weights, self.bias)
        if len(self.weights) != len(self.features) or not all(math.isfinite(float(v)) for v in numbers):
            raise CalibrationError('a calibration needs one finite weight per feature, and a finite bias')
        if min(self.weights, default=0.0) < 0:
            raise CalibrationError('a calibration has no negative weights')

    def confidence(self, evidence: Tensor) -> Tensor:
        """Probability that each class is there.

        Shape:
            - evidence: :math:`(K, F)`; result: :math:`(K,)`, 0..1
        """
        weights = evidence.new_tensor(self.weights)
        return (evidence @ weights + self.bias).sigmoid()

    def to_json(self) -> dict[str, Any]:
        """Plain data for :meth:`from_json`."""
        return {
            'format': _FORMAT,
            'weights': dict(zip(self.features, self.weights, strict=True)),
            'bias': self.bias,
            'unrelated_words': self.words,
            'about': dict(self.about),
        }

    @classmethod
    def from_json(cls, data: Any, features: Sequence[str], words: str) -> Calibration:
        """Read :meth:`to_json`.

        Args:
            data: Plain data.
            features: What the evidence consists of now.
            words: Digest of the present unrelated words.

        Raises:
            CalibrationError: If it is none, or was made for other evidence.
        """
        try:
            if data['format'] != _FORMAT:
                raise CalibrationError(f'its format is {data["format"]}, this version reads {_FORMAT}')
            if set(data['weights']) != set(features) or data['unrelated_words'] != words:
                raise CalibrationError('it was fitted for other evidence; fit it again')
            weights = tuple(float(data['weights'][name]) for name in features)
            return cls(weights, float(data['bias']), tuple(features), words, dict(data.get('about') or {}))
        except (TypeError, KeyError, AttributeError) as error:
            raise CalibrationError(f'a calibration has format, weights, bias and unrelated_words: {error!r}') from error


def digest(words: Iterable[str]) -> str:
    """Short name of a list of words."""
    return hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ScoreRequest:
    """What a caller wants to know of every picture, besides its labels.

    Attributes:
        calibration: Of the model; None gives ranks.
        min_confidence: Classes that score less are left out.
        min_area: Classes that cover a smaller share of the picture are left out.
        pixel_scores: Also give the scores of all classes at all pixels.
        background: Class that stands for everything else, if there is one; it is never left out.
    """

    calibration: Calibration | None = None
    min_confidence: float | None = None
    min_area: float | None = None
    pixel_scores: bool = False
    background: int | None = None


@dataclass(frozen=True)
class WordScores:
    """Scores of the classes of one picture.

    Attributes:
        scores: One per class, 0..1, float32; NaN: not known. What is not known is not left out.
        kind: One of :data:`MEANINGS`.
        left_out: Classes that the request left out of the labels, bool.
        evidence: What calibrated scores are made of, (K, F); None for other models.

    Shape:
        - scores, left_out: :math:`(K,)`
    """

    scores: Tensor
    kind: str
    left_out: Tensor
    evidence: Tensor | None = None

    @classmethod
    def of(cls, scores: Tensor, kind: str, request: ScoreRequest, evidence: Tensor | None = None) -> WordScores:
        """With the classes left out that are not sure enough."""
        least = request.min_confidence
        left_out = scores < (-math.inf if least is None else least)
        if request.background is not None:
            left_out[request.background] = False
        return cls(scores.float(), kind, left_out, evidence)

    def without_left_out(self, planes: Tensor) -> Tensor:
        """Scores of pixels within 0..1, zeros of the classes that were left out.

        Shape:
            - planes and result: :math:`(K, H, W)`
        """
        return planes.clamp(0.0, 1.0).masked_fill(self.left_out[:, None, None], 0.0)

    def probabilities(self, planes: Tensor) -> Tensor:
        """Probabilities of the classes that are left from their scores in units of a softmax; zeros where none is.

        Shape:
            - planes and result: :math:`(K, H, W)`
        """
        if bool(self.left_out.all()):
            return planes.new_zeros(planes.shape)
        return planes.masked_fill(self.left_out[:, None, None], -math.inf).softmax(dim=0)
