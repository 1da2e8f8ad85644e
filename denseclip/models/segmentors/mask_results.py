"""Semantic, panoptic and instance results of a query-based model, from the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from denseclip.core.placement import Placement
from denseclip.models.functional.mask_inference import (
    instance_predictions,
    panoptic_segments,
    semantic_labels,
    semantic_scores,
)
from denseclip.structures.active_vocabulary import ClassChoice
from denseclip.structures.word_scores import PROBABILITY, ScoreRequest, WordScores

from .word_scoring import label_wanted

TASKS = ('semantic', 'panoptic', 'instance', 'proposals')
"""What queries can be made into; ``proposals`` are all masks without classes, for measuring their recall."""


class MaskTasks:
    """What to make of queries, and the settings of it. Written by models' ``test_cfg``.

    Args:
        task: One of :data:`TASKS`, or several.
        score_threshold: Panoptic: queries at or below this class probability are left out, 0..1.
        overlap_threshold: Panoptic: queries that win less than this share of their mask are left out, 0..1.
        topk: Instance: number of query-class pairs.
        merge_first: Semantic: whether class planes instead of masks are cut and resized to the picture. None: as in
            Mask2Former's family: yes where semantic is the only task.
        keep_logits: Semantic: also write ``seg_logits``, K x H x W numbers, which test-time augmentation needs.

    Attributes:
        least_score: Instance: the caller looks at those from this score on; a model that leaves out what it takes for
            no object goes down to it. None: the caller does not say.

    Raises:
        ValueError: If a task is unknown or there is none.
    """

    def __init__(
        self,
        task: str | Sequence[str] = 'semantic',
        *,
        score_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
        topk: int = 100,
        merge_first: bool | None = None,
        keep_logits: bool = False,
    ) -> None:
        self.score_threshold = score_threshold
        self.overlap_threshold = overlap_threshold
        self.topk = topk
        self.merge_first = merge_first
        self.keep_logits = keep_logits
        self.score_request: ScoreRequest | None = None
        self.least_score: float | None = None
        self.set_task(task)

    def set_task(self, task: str | Sequence[str]) -> None:
        """Make other results from now on; the weights are the same."""
        tasks = (task,) if isinstance(task, str) else tuple(task)
        unknown = [t for t in tasks if t not in TASKS]
        if unknown or not tasks:
            raise ValueError(f'task {", ".join(map(repr, unknown)) or "is empty"}: choose from {", ".join(TASKS)}.')
        self.tasks = tasks

    def write(
        self,
        sample: Any,
        class_probs: Tensor,
        mask_logits: Tensor,
        placement: Placement,
        is_thing: Sequence[bool] | Tensor,
        no_object: Tensor | None = None,
        choice: ClassChoice | None = None,
    ) -> None:
        """Put the results of one picture into its data sample, in the picture's own size; flipped ones are turned back.

        ``semantic`` gives ``pred_sem_seg`` (``data``: int64 (1, H, W)), ``panoptic`` gives ``pred_panoptic_seg``
        (``data``: int32 (1, H, W) segment ids, 0 = none, with the metainfo ``segments_info``), ``instance`` gives
        ``pred_instances`` (``masks`` bool (N, H, W), ``labels``, ``scores``, ``bboxes`` xyxy), ``proposals`` gives
        ``pred_proposals`` (``masks`` bool (Q, H, W)).

        Args:
            sample: Data sample; changed.
            class_probs: Class probabilities of the queries, without "no object".
            mask_logits: Their mask logits.
            placement: Where the picture lies in the input of the network.
            is_thing: Whether each class is countable.
            no_object: Probability of "no object" of each query.
            choice: Classes that take part; the sample gets it as ``class_choice``. None: all do.

        Shape:
            class_probs ``(Q, K)``, mask_logits ``(Q, h, w)``, no_object ``(Q,)``
        """
        things = torch.as_tensor(is_thing, dtype=torch.bool, device=class_probs.device)
        kept = None
        if choice is not None:
            kept = choice.kept
            sample.set_data({'class_choice': choice})
        if 'semantic' in self.tasks:
            self._write_semantic(sample, class_probs, mask_logits, placement, kept)
        if kept is not None:
            class_probs = class_probs.masked_fill(~kept, 0.0)
        if 'panoptic' in self.tasks:
            found = panoptic_segments(
                class_probs,
                mask_logits,
                things,
                placement,
                no_object=no_object,
                score_threshold=self.score_threshold,
                overlap_threshold=self.overlap_threshold,
            )
            info = {'segments_info': found.segments_info()}
            sample.pred_panoptic_seg = PixelData(metainfo=info, data=found.ids.unsqueeze(0))
        if 'instance' in self.tasks:
            wanted = things if kept is None else things & kept  # where few classes remain, others would fill up topk
            objects = instance_predictions(class_probs, mask_logits, placement, is_thing=wanted, topk=self.topk)
            sample.pred_instances = InstanceData(
                masks=objects.masks, labels=objects.labels, scores=objects.scores, bboxes=mask_boxes(objects.masks)
            )

        if 'proposals' in self.tasks:
            sample.pred_proposals = InstanceData(masks=placement.apply(mask_logits) > 0)

    def _write_semantic(
        self, sample: Any, class_probs: Tensor, mask_logits: Tensor, placement: Placement, kept: Tensor | None
    ) -> None:
        request, scores = self.score_request, None

        def label(left_out: Tensor | None) -> Tensor:
            nonlocal scores
            some = kept if left_out is None else ~left_out
            probs = class_probs if some is None else class_probs[:, some]
            labels, scores = self._semantic(probs, mask_logits, placement)
            if some is None:
                return labels
            if scores is not None:
                scores = scores.new_full((len(some), *scores.shape[1:]), -1.0).index_copy_(
                    0, some.nonzero()[:, 0], scores
                )
            return some.nonzero()[:, 0][labels.long()]

        if request is None:
            labels = label(None)
        else:
            found = class_probs * mask_logits.flatten(1).amax(dim=1, keepdim=True).sigmoid()
            words = WordScores.of(found.amax(dim=0), PROBABILITY, request)
            labels, words = label_wanted(request, words, label, class_probs.shape[1], kept)
            sample.word_scores = words
            if scores is not None and request.pixel_scores:
                sample.pixel_scores = PixelData(data=words.without_left_out(scores))
        if self.keep_logits:
            sample.seg_logits = PixelData(data=scores)
        # int64 as MMSeg's: a uint8 tensor indexes as a mask.
        sample.pred_sem_seg = PixelData(data=labels.long().unsqueeze(0))

    def _semantic(self, class_probs: Tensor, mask_logits: Tensor, placement: Placement) -> tuple[Tensor, Tensor | None]:
        """Label map and, if wanted, class scores (K, H, W)."""
        merge_first = self.tasks == ('semantic',) if self.merge_first is None else self.merge_first
        request = self.score_request
        if not self.keep_logits and (request is None or not request.pixel_scores):
            return semantic_labels(class_probs, mask_logits, placement, merge_first=merge_first), None
        if merge_first:
            scores = placement.finish(semantic_scores(class_probs, placement.enlarge(mask_logits)))
        else:
            scores = semantic_scores(class_probs, placement.apply(mask_logits))
        return scores.argmax(dim=0), scores


def mask_boxes(masks: Tensor) -> Tensor:
    """Smallest boxes around masks.

    Args:
        masks: bool.

    Returns:
        ``x1, y1, x2, y2`` with exclusive right and lower edges; zeros for an empty mask.

    Shape:
        masks ``(N, H, W)``; result ``(N, 4)``, float32
    """

    def span(line: Tensor) -> tuple[Tensor, Tensor]:
        length = line.shape[1]
        place = torch.arange(length, device=line.device)
        low = torch.where(line, place, length).amin(dim=1)
        high = torch.where(line, place + 1, 0).amax(dim=1)
        return low.clamp_max(high), high

    left, right = span(masks.any(dim=1))
    top, bottom = span(masks.any(dim=2))
    return torch.stack([left, top, right, bottom], dim=1).float()


class WritesTasks:
    """What models that write their results by :class:`MaskTasks` share.

    Attributes:
        tasks: What they write.
    """

    tasks: MaskTasks
    test_cfg: Any

    def set_task(self, task: str | Sequence[str]) -> None:
        """Give other results from now on: one of :data:`TASKS`, or several of them.

        Raises:
            ValueError: If a task is unknown.
        """
        self.tasks.set_task(task)
        self.test_cfg.task = task

    @property
    def keep_logits(self) -> bool:
        """Whether semantic results come with ``seg_logits``; test-time augmentation sets it."""
        return self.tasks.keep_logits

    @keep_logits.setter
    def keep_logits(self, keep: bool) -> None:
        self.tasks.keep_logits = keep

    @property
    def score_request(self) -> ScoreRequest | None:
        """What semantic results are to say of words, see ``word_scores``."""
        return self.tasks.score_request

    @score_request.setter
    def score_request(self, request: ScoreRequest | None) -> None:
        self.tasks.score_request = request
