"""Which words take part in the labels of a picture: the settings of that choice, and its result."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SCORERS: Mapping[str, str] = MappingProxyType(
    {
        'picture': "CLIP's score of the whole picture",
        'dense': 'the best score of any place, over a few patches',
        'mixed': 'both, the picture counting twice as much',
        'crops': 'mean probability over crops of the picture',
        'agreement': 'how much the map of a class stays the same when it spreads along attention (FreeCP)',
    }
)
"""What classes can be chosen by. All scores are larger for classes that are likelier there."""
GIVEN = 'given'
"""As the scorer of a choice: the caller has said which classes may be answered."""
SCOPES = ('picture', 'window')
_SHARE, _LEAST, _AGREEMENT = 0.2, 5, 0.1


@dataclass(frozen=True)
class ActiveVocabulary:
    """How the classes of a picture are chosen before its pixels are labelled.

    Attributes:
        scorer: One of :data:`SCORERS`.
        share: The best part of the classes, 0..1, and no fewer than five of them. None: a fifth, or, with a
            ``threshold`` or ``'agreement'``, all that score enough.
        most: Most classes that are kept; None: any number.
        threshold: Least score of a class that is kept. ``'agreement'``: 0..0.5, 0.1 if None; ``'picture'`` and
            ``'dense'``: in units of the softmax; ``'crops'``: a probability; ``'mixed'``: standard deviations over the
            classes. The best class is kept in any case.
        per: Whether a choice holds for a ``'picture'`` or for a sliding ``'window'``.
        overlap: With ``'agreement'``: classes whose spread maps overlap by at least this, 0..1, are rivals, and CLIP's
            scores of crops around them decide. None: they stay.
        side: Pixels that sides of crops are resized to.
        relabel: With ``'agreement'``: pixels are labelled by the spread maps, as FreeCP does.

    Raises:
        ValueError: If a setting is unknown or out of range.
    """

    scorer: str
    share: float | None = None
    most: int | None = 40
    threshold: float | None = None
    per: str = 'picture'
    overlap: float | None = None
    side: int = 112
    relabel: bool = False

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            near = difflib.get_close_matches(str(self.scorer), SCORERS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f'choose from {", ".join(SCORERS)}.'
            raise ValueError(f"active_vocabulary: no scorer is called '{self.scorer}'; {hint}")
        if self.per not in SCOPES:
            raise ValueError(f"active_vocabulary: per='{self.per}' must be one of {', '.join(SCOPES)}.")
        for name, low, high in (('share', 0.0, 1.0), ('overlap', 0.0, 1.0), ('threshold', *self._range)):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and low <= value <= high):
                raise ValueError(f'active_vocabulary: {name}={value!r} must be a number from {low:g} to {high:g}.')
        if self.share == 0:
            raise ValueError('active_vocabulary: share=0 leaves no class; give more than 0.')
        for name in ('most', 'side'):
            value = getattr(self, name)
            if (value is not None or name == 'side') and not (type(value) is int and value > 0):
                raise ValueError(f'active_vocabulary: {name}={value!r} must be a whole number of 1 or more.')
        if self.scorer != 'agreement' and (self.overlap is not None or self.relabel):
            raise ValueError(f"active_vocabulary: overlap and relabel go with scorer='agreement', not '{self.scorer}'.")

    @property
    def _range(self) -> tuple[float, float]:
        return {'agreement': (0.0, 0.5), 'crops': (0.0, 1.0)}.get(self.scorer, (-math.inf, math.inf))

    @classmethod
    def of(cls, value: Any) -> ActiveVocabulary | None:
        """Settings from what a config or a caller gives: a scorer's name, a mapping of settings, or None for none.

        Raises:
            ValueError: If they cannot be used.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value)
        known = [one.name for one in fields(cls)]
        if not isinstance(value, Mapping) or 'scorer' not in value or not set(value) <= set(known):
            raise ValueError(
                f'active_vocabulary={value!r} must be a scorer ({", ".join(SCORERS)}) or a mapping with scorer and any '
                f'of {", ".join(known[1:])}.'
            )
        return cls(**value)

    def keep(self, scores: Tensor, *, may_be_none: bool = False) -> Tensor:
        """Classes that are kept, (K,) bool, from their scores (K,).

        Args:
            scores: Of all classes.
            may_be_none: Whether a threshold may leave no class at all; else the best one stays.
        """
        threshold, share = self.threshold, self.share
        if threshold is None and self.scorer == 'agreement' and share is None:
            threshold = _AGREEMENT
        elif threshold is None and share is None:
            share = _SHARE
        count = len(scores) if share is None else max(_LEAST, math.ceil(share * len(scores) - 1e-9))
        count = min(count, len(scores), self.most or len(scores))
        kept = scores.new_zeros(len(scores)).bool()
        # Ties go to the lower number: topk leaves their order open.
        kept[scores.sort(descending=True, stable=True).indices[:count]] = True
        if threshold is not None:
            kept &= scores > threshold
            if not may_be_none:
                kept[scores.argmax()] = True
        return kept


@dataclass(frozen=True)
class ClassChoice:
    """Which classes the labels of a picture were taken from.

    Attributes:
        scorer: One of :data:`SCORERS`, or :data:`GIVEN`.
        kept: Classes that took part, bool.
        scores: Of all classes, float32; None where the choice was given. Of choices per window the best one.

    Shape:
        - kept, scores: :math:`(K,)`
    """

    scorer: str
    kept: Tensor
    scores: Tensor | None = None

    def with_class(self, label: int | None) -> ClassChoice:
        """The same with a class that always takes part; None: nothing to do."""
        if label is None:
            return self
        kept = self.kept.clone()
        kept[label] = True
        return replace(self, kept=kept)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
