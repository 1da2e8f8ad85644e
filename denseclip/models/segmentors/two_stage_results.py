"""From classified masks to the results of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Placement
from denseclip.models.functional.ensemble import Stages, best_masks, combine_stages, deciding_stage
from denseclip.models.functional.mask_inference import semantic_labels

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


class TwoStageResults:
    """What to make of classified masks.

    Args:
        vocabulary: The classes.
        selection: ``'all'`` masks, or the ``'best'`` one of each class.
        threshold: With ``'best'``, a pixel is in a mask if its share is above this; for a learned background, it is
            covered if that is so for any mask.
        geometry: How planes reach the picture's size.
    """

    def __init__(self, vocabulary: Vocabulary, selection: str, threshold: float, geometry: Placement) -> None:
        self.vocabulary, self.selection = vocabulary, selection
        self.threshold, self.geometry = threshold, geometry

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
        scores = classes.scores
        if self.selection == 'best':
            chosen = self._choose(classes, masks)
            decided = deciding_stage(scores, classes.first, classes.second, classes.valid)[chosen]
            best, labels = scores[chosen].max(dim=1)
            sample.mask_classes = InstanceData(labels=labels, scores=best, decided_by=decided, masks_used=chosen)
            scores, masks = scores[chosen], (masks[chosen] > self.threshold).to(masks.dtype)
        covered = self._covered(masks)
        if scored:
            planes = self.geometry.finish(torch.einsum('qk,qhw->khw', scores.to(masks.dtype), masks))
            self._put(sample, planes.argmax(dim=0), covered, planes)
        else:
            self._put(sample, semantic_labels(scores, masks, self.geometry, are_logits=False), covered, None)

    def write_scores(self, sample: Any, scores: Tensor, scored: bool) -> None:
        """The same from :meth:`planes` (K, H, W), without padding; there are no masks to tell of any more."""
        planes = self.geometry.finish(scores)
        covered = planes.amax(dim=0) > 0 if self._blanks else None
        self._put(sample, planes.argmax(dim=0), covered, planes if scored else None)

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
            chosen = self._choose(classes, masks)
            scores, masks = scores[chosen], (masks[chosen] > self.threshold).to(masks.dtype)
        planes = torch.einsum('qk,qhw->khw', scores.to(masks.dtype), masks)
        return planes * (masks.amax(dim=0) > self.threshold) if self._blanks else planes

    @property
    def _blanks(self) -> bool:
        return self.vocabulary.background == 'learned' or self.selection == 'best'

    def _choose(self, classes: MaskClasses, masks: Tensor) -> Tensor:
        """The best mask of each class, among those that have pixels and that the second stage has seen, if any has."""
        filled = masks.flatten(1).amax(dim=1) > self.threshold
        seen = filled if classes.second is None else classes.valid
        for candidates in (seen, filled):
            if candidates.any():
                break
        else:
            candidates = torch.ones_like(filled)
        numbers = candidates.nonzero()[:, 0]
        return numbers[best_masks(classes.scores[numbers], skip_last=bool(self.vocabulary.background_names))]

    def _covered(self, masks: Tensor) -> Tensor | None:
        """Pixels of the result that a mask covers; None: all count as covered."""
        if not self._blanks:
            return None
        union = (masks.amax(dim=0, keepdim=True) > self.threshold).to(masks.dtype)
        return self.geometry.finish(union)[0] > 0

    def _put(self, sample: Any, labels: Tensor, covered: Tensor | None, planes: Tensor | None) -> None:
        labels = labels.long()  # as MMSeg's: a uint8 tensor indexes as a mask
        if covered is not None:
            labels = torch.where(covered, labels, len(self.vocabulary))
        axes = _flipped_axes(sample.metainfo)
        sample.pred_sem_seg = PixelData(data=labels.flip(axes).unsqueeze(0))
        if planes is not None:
            sample.seg_logits = PixelData(data=planes.flip([axis + 1 for axis in axes]))


def _flipped_axes(meta: dict[str, Any]) -> list[int]:
    """Axes of a label map along which the picture was flipped."""
    if not meta.get('flip'):
        return []
    return {'horizontal': [1], 'vertical': [0], 'diagonal': [0, 1]}[meta.get('flip_direction', 'horizontal')]
