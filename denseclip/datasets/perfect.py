"""What a model without mistakes would score: the truth, given back as predictions to a config's own evaluator.

It must get full marks. Where it does not, training would be scored wrongly whatever the model learns: labels that
follow positions instead of names, annotations that the data set and the evaluator read differently, a file of another
split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmengine.config import Config

_FULL = 0.9995  # scores are rounded to three decimals


@dataclass(frozen=True)
class PerfectScore:
    """What the truth scores.

    Attributes:
        model: ``'detector'`` or ``'segmentor'``.
        scores: By measure, 0 to 1; empty where nothing can be scored.
        notes: What else was found, a line each.
        problems: What keeps the scores from being full, a line each.
    """

    model: str
    scores: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a perfect model would get full marks."""
        return not self.problems

    def render(self) -> str:
        """The findings as text, such as ``perfect detector: box AP 1.000``."""
        found = ', '.join(f'{name} {value:.3f}' for name, value in self.scores.items())
        lines = [f'perfect {self.model}: {found}'] if found else []
        lines += [*self.notes, *(f'PROBLEM perfect {self.model}: {line}' for line in self.problems)]
        return '\n'.join(lines)


def is_full(score: float) -> bool:
    """Whether a score, 0 to 1, is full but for rounding."""
    return score >= _FULL


def score_perfect_model(config: Config, split: str) -> PerfectScore | None:
    """Score the truth of a split through the data set and the evaluator of a config.

    Args:
        config: A complete config.
        split: ``'train'`` (labels alone are looked at), ``'val'`` or ``'test'``.

    Returns:
        The score; None for kinds of data that have no such check.
    """
    from denseclip.datasets.perfect_boxes import score_perfect_detector

    return score_perfect_detector(config, split)
