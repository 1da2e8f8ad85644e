"""Scores of the words that were asked for, on the way from the scores of patches to a label map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor

from denseclip.core.placement import Placement, upper_left
from denseclip.models.functional.label_map import Box
from denseclip.models.functional.word_evidence import Reference, rank_among, reference_scores, word_evidence
from denseclip.structures.word_scores import CALIBRATED, PROBABILITY, RANK, ScoreRequest, WordScores

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class Comparison:
    """How unrelated words are scored on a batch, or on a batch of windows.

    Attributes:
        compare: Scores (1, M, r, w) of the words in units of a softmax, from features (1, C, r, w).
        features: Of the pixels.
        offset: What was taken from the scores of the classes, to make them logarithms of probabilities; None: nothing.

    Shape:
        - features: :math:`(N, C, h, w)`; offset: :math:`(N, h, w)`
    """

    compare: Callable[[Tensor], Tensor]
    features: Tensor
    offset: Tensor | None = None

    def split(self) -> list[Comparison]:
        """One for each picture or window."""
        offsets = [None] * len(self.features) if self.offset is None else list(self.offset)
        return [Comparison(self.compare, f[None], o) for f, o in zip(self.features, offsets, strict=True)]

    def reference(self, inside: Tensor, wants_tops: bool) -> Reference:
        """What the words score on the one picture or window."""
        found = reference_scores(self.compare, self.features, inside, wants_tops)
        return found if self.offset is None else Reference(found.level - self.offset, found.tops)


def gather(
    boxes: Sequence[Box], groups: Iterable[tuple[Tensor, Comparison | None]]
) -> tuple[ScoreMaps, list[Comparison] | None]:
    """Scores of all windows of a picture, and how unrelated words are scored on each."""
    maps: list[Tensor] = []
    others: list[Comparison] = []
    for scores, comparison in groups:
        maps += list(scores)
        others += [] if comparison is None else comparison.split()
    return ScoreMaps(maps, boxes), others or None


def score_words(
    request: ScoreRequest,
    maps: Sequence[Tensor],
    inside: Sequence[Tensor],
    comparisons: Sequence[Comparison] | None,
    merge: Callable[[Tensor], Tensor] | None = None,
) -> WordScores:
    """Scores of the classes of one picture.

    Args:
        request: What is wanted.
        maps: Scores of the classes in units of a softmax, one per window.
        inside: Patches of each window that lie in the picture.
        comparisons: One per window; None where the model cannot score other words: the best probability of any patch
            among the classes then stands for evidence.
        merge: Makes one row per class of one row per name; None where there is one per class.

    Shape:
        - maps: :math:`(K, h, w)` each; inside: :math:`(h, w)` each
    """
    merge = merge or (lambda rows: rows)
    calibration = request.calibration
    if comparisons is None:
        best = torch.stack([m.softmax(dim=0)[:, i].amax(dim=1) for m, i in zip(maps, inside, strict=True) if i.any()])
        scores = merge(best.amax(dim=0)[:, None])[:, 0]
        # The probability of one class among one is 1, whatever the picture shows.
        return WordScores.of(scores if len(scores) > 1 else torch.full_like(scores, torch.nan), PROBABILITY, request)
    references = [c.reference(i, calibration is None) for c, i in zip(comparisons, inside, strict=True)]
    evidence = merge(word_evidence(maps, [r.level for r in references], inside))
    if calibration is not None:
        return WordScores.of(calibration.confidence(evidence), CALIBRATED, request, evidence)
    tops = torch.stack([r.tops for r in references if r.tops is not None]).amax(dim=0)
    return WordScores.of(rank_among(evidence[:, 0], tops), RANK, request, evidence)


def label_wanted(
    request: ScoreRequest,
    words: WordScores,
    label: Callable[[Tensor | None], Tensor],
    nothing: int,
    active: Tensor | None = None,
) -> tuple[Tensor, WordScores]:
    """The label map without the classes that the request leaves out.

    Their pixels go to the next best class that is left. Where none is left, pixels get the label ``nothing``. Areas are
    those of the map of the classes that are sure enough; they are looked at once, so what a class inherits from a small
    one does not save it.

    Args:
        request: What is wanted.
        words: Scores of the classes.
        label: Makes the label map without the given classes, (K,) bool; None: with all.
        nothing: Label of pixels of no class.
        active: Classes that take part at all, (K,) bool; None: every one. The others are left out, too.
    """
    left_out = words.left_out if active is None else words.left_out | ~active
    labels = label(left_out if bool(left_out.any()) and not bool(left_out.all()) else None)
    if request.min_area is not None and not bool(left_out.all()):
        areas = torch.bincount(labels.flatten().long(), minlength=len(left_out))[: len(left_out)]
        small = (areas < request.min_area * labels.numel()) & ~left_out
        if request.background is not None:
            small[request.background] = False
        left_out = left_out | small
        if bool((small & (areas > 0)).any()) and not bool(left_out.all()):
            labels = label(left_out)
    if bool(left_out.all()):
        labels = torch.full_like(labels, nothing)
    return labels, replace(words, left_out=left_out)


def score_sample(request: ScoreRequest, sample: Any) -> None:
    """The same for the data sample of a model that gives logits in the picture's size and knows nothing of requests.

    Changes nothing where there are ``word_scores`` already, or no ``seg_logits`` (K, H, W) of several classes.
    """
    if 'word_scores' in sample or 'seg_logits' not in sample or len(sample.seg_logits.data) < 2:
        return
    planes = sample.seg_logits.data
    words = score_words(request, [planes], [torch.ones_like(planes[0], dtype=torch.bool)], None)

    def label(left_out: Tensor | None) -> Tensor:
        left = planes if left_out is None else planes.masked_fill(left_out[:, None, None], -torch.inf)
        return left.argmax(dim=0)

    labels, sample.word_scores = label_wanted(request, words, label, len(planes))
    sample.pred_sem_seg = PixelData(data=labels.unsqueeze(0))
    if request.pixel_scores:
        sample.pixel_scores = PixelData(data=sample.word_scores.probabilities(planes))


def patches_inside(maps: ScoreMaps, placement: Placement) -> list[Tensor]:
    """Patches of each window whose centre lies in the picture, not in its padding; all where none does.

    Returns:
        (h, w) bool per window.
    """
    assert placement.padded is not None
    whole = upper_left(placement.padded)
    boxes, (first_row, last_row, first_column, last_column) = maps.boxes or [whole], placement.valid or whole
    masks = []
    for scores, (top, bottom, left, right) in zip(maps.maps, boxes, strict=True):
        rows = _centres(scores.shape[1], top, bottom, scores.device)
        columns = _centres(scores.shape[2], left, right, scores.device)
        down = (rows >= first_row) & (rows < last_row)
        across = (columns >= first_column) & (columns < last_column)
        masks.append(down[:, None] & across[None])
    return masks if any(bool(m.any()) for m in masks) else [torch.ones_like(m) for m in masks]


def _centres(count: int, start: int, stop: int, device: torch.device) -> Tensor:
    return start + (torch.arange(count, device=device) + 0.5) * (stop - start) / count
