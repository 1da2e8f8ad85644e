"""From classified masks to the results of a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Placement
from denseclip.models.functional.ensemble import Stages, best_masks, combine_stages, deciding_stage
from denseclip.models.functional.mask_inference import semantic_labels
from denseclip.structures.active_vocabulary import ClassChoice
from denseclip.structures.word_scores import PROBABILITY, ScoreRequest, WordScores

from .word_scoring import label_wanted

SELECTIONS = ('all', 'best')


@dataclass(frozen=True)
class MaskClasses:
    """Classes of the masks of a picture.

    Attributes:
        scores: Of both stages together, not normalised.
        first: Logarithms of the first stage's probabilities; None: it has no opinion.
        second: Logarithms of the second stage's; None: it was not asked.
        valid: Masks that the second stage has seen.

    Shape:
        - scores, first, second: :math:`(Q, K)`; valid: :math:`(Q,)`
    """

    scores: Tensor
    first: Tensor | None
    second: Tensor | None
    valid: Tensor

    @classmethod
    def of(
        cls, first: Tensor | None, second: Tensor | None, valid: Tensor, weight: float, stages: Stages
    ) -> MaskClasses:
        """See :func:`denseclip.models.functional.ensemble.combine_stages`."""
        scores = combine_stages(first, second, valid, weight=weight, stages=stages)
        return cls(scores, first, second, valid)


@dataclass(frozen=True)
class _Made:
    """A label map (H, W), the class scores (K, H, W) that it comes from, and the masks chosen."""

    labels: Tensor | None = None
    planes: Tensor | None = None
    chosen: InstanceData | None = None


class TwoStageResults:
    """What to make of classified masks.

    Args:
        vocabulary: The classes.
        selection: ``'all'`` masks, or the ``'best'`` one of each class.
        threshold: With ``'best'``, a pixel is in a mask if its share is above this; for a learned background, it is
            covered if that is so for any mask.
        placement: How planes reach the picture's size.
        request: What else is wanted.
        choice: Classes that take part; samples get it as ``class_choice``. None: all do.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        selection: str,
        threshold: float,
        placement: Placement,
        request: ScoreRequest | None = None,
        choice: ClassChoice | None = None,
    ) -> None:
        self.vocabulary, self.selection = vocabulary, selection
        self.threshold, self.placement, self.request, self.choice = threshold, placement, request, choice

    def write(self, sample: Any, classes: MaskClasses, masks: Tensor, scored: bool) -> None:
        """Put the label map of a picture into its data sample.

        Pixels that no mask covers get the background's label, the one after the classes, where the vocabulary's policy
        is ``'learned'`` or the selection ``'best'``. With ``'best'``, ``mask_classes`` tells of each chosen mask its
        label, its score, and in ``decided_by`` the stage that it owes its class to (see ``DECIDERS``).

        Args:
            sample: Data sample; changed.
            classes: Classes of the masks.
            masks: Mask probabilities, without padding.
            scored: Also write ``seg_logits``, class scores in the picture's size.

        Shape:
            - masks: :math:`(Q, H, W)`
        """
        made = _Made()
        wants_planes = scored or (self.request is not None and self.request.pixel_scores)

        def label(left_out: Tensor | None) -> Tensor:
            nonlocal made
            made = self._make(classes, masks, wants_planes, left_out)
            assert made.labels is not None
            return made.labels

        filled = masks.flatten(1).amax(dim=1) > self.threshold
        labels = self._wanted(sample, (classes.scores * filled[:, None]).amax(dim=0), label)
        if made.chosen is not None:
            sample.mask_classes = made.chosen
        self._put(sample, labels, made.planes, scored)

    def write_scores(self, sample: Any, scores: Tensor, scored: bool) -> None:
        """The same from :meth:`planes` (K, H, W), without padding; there are no masks to tell of any more."""
        planes = self.placement.finish(scores)

        def label(left_out: Tensor | None) -> Tensor:
            left = planes if left_out is None else planes.masked_fill(left_out[:, None, None], -1.0)
            labels = left.argmax(dim=0)
            return labels if not self._blanks else torch.where(left.amax(dim=0) > 0, labels, len(self.vocabulary))

        labels = self._wanted(sample, planes.flatten(1).amax(dim=1), label)
        self._put(sample, labels, planes, scored)

    def _wanted(self, sample: Any, scores: Tensor, label: Callable[[Tensor | None], Tensor]) -> Tensor:
        """Labels as the request wants them; it also gets the scores of the words."""
        kept = None
        if self.choice is not None:
            kept = self.choice.kept
            sample.set_data({'class_choice': self.choice})
        if self.request is None:
            return label(None if kept is None or bool(kept.all()) else ~kept)
        words = WordScores.of(scores.clamp(0.0, 1.0), PROBABILITY, self.request)
        nothing = len(self.vocabulary) if self._blanks else len(scores)
        labels, sample.word_scores = label_wanted(self.request, words, label, nothing, kept)
        return labels

    def _make(self, classes: MaskClasses, masks: Tensor, wants_planes: bool, left_out: Tensor | None) -> _Made:
        """Labels of the classes that are left, with what belongs to them."""
        scores, chosen = classes.scores, None
        if left_out is not None:
            scores = scores.masked_fill(left_out, -1.0)
        if self.selection == 'best':
            numbers = self._choose(scores, classes, masks, left_out)
            decided = deciding_stage(classes.scores, classes.first, classes.second, classes.valid)[numbers]
            best, labels = scores[numbers].max(dim=1)
            chosen = InstanceData(labels=labels, scores=best, decided_by=decided, masks_used=numbers)
            scores, masks = scores[numbers], (masks[numbers] > self.threshold).to(masks.dtype)
        planes = None
        if wants_planes:
            planes = self.placement.finish(torch.einsum('qk,qhw->khw', scores.to(masks.dtype), masks))
            labels = planes.argmax(dim=0)
        else:
            some = None if left_out is None else (~left_out).nonzero()[:, 0]
            scores = scores if some is None else scores[:, some]
            labels = semantic_labels(scores, masks, self.placement, are_logits=False)
            labels = labels if some is None else some[labels.long()]
        covered = self._covered(masks)
        if covered is not None:
            labels = torch.where(covered, labels.long(), len(self.vocabulary))
        return _Made(labels, planes, chosen)

    def planes(self, classes: MaskClasses, masks: Tensor) -> Tensor:
        """Class scores of pixels for :meth:`write_scores`: zero where the background is to be.

        Args:
            classes: Classes of the masks.
            masks: Mask probabilities.

        Shape:
            - masks: :math:`(Q, H, W)`; result: :math:`(K, H, W)`
        """
        scores = classes.scores
        if self.selection == 'best':
            chosen = self._choose(scores, classes, masks)
            scores, masks = scores[chosen], (masks[chosen] > self.threshold).to(masks.dtype)
        planes = torch.einsum('qk,qhw->khw', scores.to(masks.dtype), masks)
        return planes * (masks.amax(dim=0) > self.threshold) if self._blanks else planes

    @property
    def _blanks(self) -> bool:
        return self.vocabulary.background == 'learned' or self.selection == 'best'

    def _choose(self, scores: Tensor, classes: MaskClasses, masks: Tensor, left_out: Tensor | None = None) -> Tensor:
        """The best mask of each class that is left: of those that the second stage has seen, else that have pixels."""
        filled = masks.flatten(1).amax(dim=1) > self.threshold
        seen = filled if classes.second is None else classes.valid
        for candidates in (seen, filled):
            if candidates.any():
                break
        else:
            candidates = torch.ones_like(filled)
        numbers = candidates.nonzero()[:, 0]
        skip_last = bool(self.vocabulary.background_names)
        if left_out is None:
            return numbers[best_masks(scores[numbers], skip_last)]
        left = ~left_out[:-1] if skip_last else ~left_out
        return numbers[best_masks(scores[numbers][:, : len(left)][:, left])]

    def _covered(self, masks: Tensor) -> Tensor | None:
        """Pixels of the result that a mask covers; None: all count as covered."""
        if not self._blanks:
            return None
        union = (masks.amax(dim=0, keepdim=True) > self.threshold).to(masks.dtype)
        return self.placement.finish(union)[0] > 0

    def _put(self, sample: Any, labels: Tensor, planes: Tensor | None, scored: bool) -> None:
        # int64 as MMSeg's: a uint8 tensor indexes as a mask.
        sample.pred_sem_seg = PixelData(data=labels.long().unsqueeze(0))
        if planes is None:
            return
        if scored:
            sample.seg_logits = PixelData(data=planes)
        if self.request is not None and self.request.pixel_scores:
            sample.pixel_scores = PixelData(data=sample.word_scores.without_left_out(planes))
