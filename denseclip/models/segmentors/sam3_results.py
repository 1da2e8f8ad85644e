"""From the maps and objects of SAM 3 to the results of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Placement
from denseclip.models.functional.concepts import distinct
from denseclip.models.functional.mask_inference import panoptic_segments
from denseclip.models.sam3_concepts import Concepts
from denseclip.structures.word_scores import PROBABILITY, WordScores

from .mask_results import MaskTasks, mask_boxes
from .score_maps import ScoreMaps
from .word_scoring import label_wanted, patches_inside

_AT_ONCE = 16
_EDGE = 1e-6


@dataclass(frozen=True)
class FoundObjects:
    """Queries of SAM 3, each of one phrase.

    Attributes:
        masks: Their mask logits.
        scores: 0..1.
        labels: Their classes.
        names: Numbers of the phrases.
        counts: Which are objects at all.

    Shape:
        - masks: :math:`(N, h, w)`; the others: :math:`(N,)`
    """

    masks: Tensor
    scores: Tensor
    labels: Tensor
    names: Tensor
    counts: Tensor

    @classmethod
    def of(cls, found: Concepts, names: Tensor, class_index: Tensor, threshold: float) -> FoundObjects:
        """All queries of some phrases."""
        each = names[:, None].expand_as(found.scores).flatten()
        scores = found.scores.flatten()
        return cls(found.masks.flatten(0, 1), scores, class_index[each], each, scores > threshold)

    @classmethod
    def together(cls, parts: Sequence[FoundObjects]) -> FoundObjects:
        """Those of several passes."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def chosen(self, which: Tensor | None = None) -> FoundObjects:
        """Some of them, by bool or number; None: those that count."""
        which = self.counts if which is None else which
        return FoundObjects(*(getattr(self, field.name)[which] for field in fields(self)))


class ConceptResults:
    """What to make of a picture's maps and objects.

    Args:
        vocabulary: The classes.
        tasks: What is wanted.
        is_thing: Which labels are countable.
        classes: Number of class planes.
    """

    def __init__(self, vocabulary: Vocabulary, tasks: MaskTasks, is_thing: Tensor, classes: int) -> None:
        self.vocabulary, self.tasks, self.is_thing, self.classes = vocabulary, tasks, is_thing, classes

    # --- one label per pixel --------------------------------------------------------------------------------------

    def write_semantic(self, sample: Any, maps: ScoreMaps, placement: Placement) -> None:
        """Put ``pred_sem_seg`` and what else is wanted of it into a data sample.

        Args:
            sample: Data sample; changed.
            maps: Scores of the classes; below 0 where the picture does not show them.
            placement: How they reach the picture's size.
        """
        request = self.tasks.score_request

        def label(left_out: Tensor | None) -> Tensor:
            return self._labels(maps if left_out is None else maps.without(left_out), placement)

        if request is None:
            labels = label(None)
        else:
            inside = patches_inside(maps, placement)
            best = [m[:, i].amax(dim=1) for m, i in zip(maps.maps, inside, strict=True) if bool(i.any())]
            scores = torch.stack(best).amax(dim=0).clamp(0.0, 1.0)
            words = WordScores.of(scores, PROBABILITY, request)
            nothing = self.classes if self.vocabulary.background == 'threshold' else len(scores)
            labels, sample.word_scores = label_wanted(request, words, label, nothing)
        scored = self.tasks.keep_logits or bool(sample.metainfo.get('flip'))
        if scored or (request is not None and request.pixel_scores):
            planes = placement.finish(maps.full(placement))
            if scored:
                sample.seg_logits = PixelData(data=planes)
            if request is not None and request.pixel_scores:
                sample.pixel_scores = PixelData(data=sample.word_scores.without_left_out(planes))
        # int64 as MMSeg's: a uint8 tensor indexes as a mask.
        sample.pred_sem_seg = PixelData(data=labels.long().unsqueeze(0))

    def _labels(self, maps: ScoreMaps, placement: Placement) -> Tensor:
        least = self.vocabulary.least_score
        if least is None:
            return maps.label_map(placement)
        labels, best = maps.best(placement)
        return torch.where(best < least, self.classes, labels)

    # --- objects --------------------------------------------------------------------------------------------------

    def write_objects(self, sample: Any, found: FoundObjects, maps: Tensor, placement: Placement) -> None:
        """Put the results of the other tasks into a data sample.

        Args:
            sample: Data sample; changed.
            found: Objects of all phrases.
            maps: Scores of the classes (K, h, w), what stuff is made of.
            placement: How masks and maps reach the picture's size.
        """
        things = torch.zeros(self.classes, dtype=torch.bool, device=maps.device)
        things[: len(self.vocabulary)] = self.is_thing[: len(self.vocabulary)].to(maps.device)
        found = found.chosen(things[found.labels])
        kept = distinct(found.masks > 0, found.scores, found.labels, found.names)  # surest first
        if 'instance' in self.tasks.tasks:
            surest = found.chosen(kept[: self.tasks.topk])
            masks = self._inside(surest.masks, placement)
            sample.pred_instances = InstanceData(
                masks=masks, labels=surest.labels, scores=surest.scores.float(), bboxes=mask_boxes(masks)
            )
        found = found.chosen(kept)
        if 'panoptic' in self.tasks.tasks:
            self._write_panoptic(sample, found, maps, things, placement)
        if 'proposals' in self.tasks.tasks:
            sample.pred_proposals = InstanceData(masks=self._inside(found.masks, placement))

    @staticmethod
    def _inside(masks: Tensor, placement: Placement) -> Tensor:
        """Pixels of the result where masks are likelier than not, bool (N, H, W); a few full-size masks at a time."""
        # Of no mask there is one part, without any.
        return torch.cat([placement.apply(part.float().sigmoid()) > 0.5 for part in masks.split(_AT_ONCE)])

    def _write_panoptic(
        self, sample: Any, found: FoundObjects, maps: Tensor, things: Tensor, placement: Placement
    ) -> None:
        """Objects and one mask for each class of stuff compete; a background is then taken away."""
        stuff = (~things).nonzero()[:, 0]
        planes = maps[stuff].clamp(0.0, 1.0)
        sure = planes.flatten(1).amax(dim=1) if len(stuff) else planes.new_zeros(0)
        shares = planes / sure.clamp_min(_EDGE)[:, None, None]
        logits = torch.cat([found.masks.float(), torch.logit(shares, eps=_EDGE)])
        scores = torch.cat([found.scores.float(), sure])
        labels = torch.cat([found.labels, stuff])
        probs = scores.new_zeros((len(labels), self.classes))
        probs[torch.arange(len(labels), device=probs.device), labels] = scores
        segments = panoptic_segments(
            probs,
            logits,
            things,
            placement,
            score_threshold=self.tasks.score_threshold,
            overlap_threshold=self.tasks.overlap_threshold,
        )
        info, ids = segments.segments_info(), segments.ids
        kept = [entry for entry in info if entry['category_id'] < len(self.vocabulary)]
        numbers = torch.zeros(len(info) + 1, dtype=ids.dtype, device=ids.device)
        for place, entry in enumerate(kept, start=1):
            numbers[int(entry['id'])] = place
            entry['id'] = place
        sample.pred_panoptic_seg = PixelData(metainfo={'segments_info': kept}, data=numbers[ids.long()].unsqueeze(0))
