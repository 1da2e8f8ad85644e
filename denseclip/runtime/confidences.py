"""How sure a model is of each class of a picture, on numpy: what ``denseclip.models`` computes with PyTorch.

See ``denseclip.models.functional.word_evidence`` for what is compared with what, and
``denseclip.models.segmentors.word_scoring`` for classes that are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denseclip.runtime.label_maps import Box
from denseclip.runtime.resizing import Size
from denseclip.structures.word_scores import CALIBRATED, PROBABILITY, RANK, Calibration

_BUDGET = 2**22


@dataclass(frozen=True)
class Confidences:
    """Scores of the classes of one picture.

    Attributes:
        scores: One per class, 0..1, float32; NaN: not known.
        kind: See ``denseclip.structures.word_scores.MEANINGS``.
        evidence: What they are made of; None for models that cannot score other words.

    Shape:
        - scores: :math:`(K,)`; evidence: :math:`(K, F)`
    """

    scores: np.ndarray
    kind: str
    evidence: np.ndarray | None = None


@dataclass(frozen=True)
class Window:
    """What a graph says of one window, as confidences need it.

    Attributes:
        scores: Of the rows of ``text`` in units of a softmax.
        pixels: What is compared with unrelated words; None where a model cannot do that.
        offset: What was taken from the scores to make them logarithms of probabilities; None: nothing.
        inside: Places whose centre lies in the picture.

    Shape:
        - scores: :math:`(P, h, w)`; pixels: :math:`(C, h, w)`; offset, inside: :math:`(h, w)`
    """

    scores: np.ndarray
    pixels: np.ndarray | None
    offset: np.ndarray | None
    inside: np.ndarray


def confidences(
    windows: Sequence[Window], unrelated: np.ndarray | None, calibration: Calibration | None, groups: Sequence[int]
) -> Confidences:
    """Scores of the classes.

    Args:
        windows: Of one picture.
        unrelated: A row per unrelated word, whose products with ``pixels`` are scores in units of a softmax.
        calibration: Of the model; None gives ranks.
        groups: Class of each row of the scores.

    Shape:
        - unrelated: :math:`(M, C)`
    """
    if unrelated is None or any(window.pixels is None for window in windows):
        best = [softmax(w.scores)[:, w.inside].max(axis=1) for w in windows if w.inside.any()]
        scores = best_of_rows(np.max(best, axis=0), groups)
        # The probability of one class among one is 1, whatever the picture shows.
        return Confidences(scores if len(scores) > 1 else np.full_like(scores, np.nan), PROBABILITY)
    levels, tops = zip(*(_reference(window, unrelated, calibration is None) for window in windows), strict=True)
    evidence = best_of_rows(_evidence(windows, levels), groups)
    if calibration is not None:
        sums = evidence @ np.array(calibration.weights, dtype=np.float32) + np.float32(calibration.bias)
        return Confidences(1 / (1 + np.exp(-sums)), CALIBRATED, evidence)
    most = np.max([top for top in tops if top is not None], axis=0)
    return Confidences((evidence[:, :1] > most[None]).mean(axis=1, dtype=np.float32), RANK, evidence)


def best_of_rows(values: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Values (P, ...) of rows to those of classes (K, ...): the best row of each."""
    if list(groups) == list(range(len(values))):
        return values
    index = np.asarray(groups)
    return np.stack([values[index == k].max(axis=0) for k in range(int(index.max()) + 1)])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def logsumexp(scores: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    most = scores.max(axis=0)
    return most + np.log(np.exp(scores - most).sum(axis=0))


def places_inside(shape: Size, box: Box, valid: Box) -> np.ndarray:
    """Places of a window whose centre lies in the picture, not in its padding.

    Args:
        shape: Height and width of the scores.
        box: Where the window lies.
        valid: The part without padding.
    """
    rows, columns = (
        start + (np.arange(count) + 0.5) * (stop - start) / count
        for count, start, stop in ((shape[0], *box[:2]), (shape[1], *box[2:]))
    )
    down = (rows >= valid[0]) & (rows < valid[1])
    across = (columns >= valid[2]) & (columns < valid[3])
    return down[:, None] & across[None]


def _reference(window: Window, unrelated: np.ndarray, wants_tops: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean score of unrelated words at every place, and their best log-odds; some rows at a time."""
    assert window.pixels is not None
    _, height, width = window.pixels.shape
    rows = max(1, _BUDGET // (len(unrelated) * width))
    level = np.empty((height, width), dtype=np.float32)
    tops = np.full(len(unrelated), -np.inf, dtype=np.float32)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        scores = np.tensordot(unrelated, window.pixels[:, band], axes=1)
        level[band] = logsumexp(scores) - math.log(len(unrelated))
        inside = window.inside[band]
        if wants_tops and inside.any():
            tops = np.maximum(tops, (scores - level[band])[:, inside].max(axis=1))
    return (level if window.offset is None else level - window.offset), (tops if wants_tops else None)


def _evidence(windows: Sequence[Window], levels: Sequence[np.ndarray]) -> np.ndarray:
    """Best log-odds against unrelated words, and best log-probability among all, of every row, (P, 2)."""
    level = np.concatenate([one[w.inside] for one, w in zip(levels, windows, strict=True)])
    count = len(windows[0].scores)
    step = max(1, _BUDGET // level.size)
    spans = [slice(start, start + step) for start in range(0, count, step)]

    def part(span: slice) -> np.ndarray:
        return np.concatenate([w.scores[span][:, w.inside] for w in windows], axis=1)

    total = level
    for span in spans:
        total = np.logaddexp(total, logsumexp(part(span)))
    rows = [np.stack([(s - level).max(axis=1), (s - total).max(axis=1)], axis=1) for s in map(part, spans)]
    return np.concatenate(rows).astype(np.float32)
