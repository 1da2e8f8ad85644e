"""What a model without mistakes would score: the truth, given back as predictions to a config's own evaluator.

It must get full marks. Where it does not, training would be scored wrongly whatever the model learns: labels that
follow positions instead of names, annotations that the data set and the evaluator read differently, a file of another
split.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger

from denseclip.files.names import shown

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
        return '\n'.join(map(shown, lines))


def is_full(score: float) -> bool:
    """Whether a score, 0 to 1, is full but for rounding."""
    return score >= _FULL


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No tables and no progress of the host's evaluators."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def score_perfect_model(
    config: Config, split: str, *, truth: Callable[[str], np.ndarray] | None = None
) -> PerfectScore | None:
    """Score the truth of a split through the data set and the evaluator of a config.

    Args:
        config: A complete config.
        split: ``'train'`` (of boxes, labels alone are looked at), ``'val'`` or ``'test'``.
        truth: Gives the class of each pixel of a picture by its path, int (H, W), -1 for none, where that is known
            otherwise than from the files that the config names.

    Returns:
        The score; None for kinds of data that have no such check.
    """
    from denseclip.datasets.perfect_boxes import score_perfect_detector
    from denseclip.datasets.perfect_labels import score_perfect_segmentor

    return score_perfect_detector(config, split) or score_perfect_segmentor(config, split, truth=truth)
