"""From queries (class probabilities and mask logits) to label maps, panoptic segments and instances.

The three merges are those of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4) and Mask2Former as FC-CLIP and MAFT+
use them. Probabilities come in without the "no object" class, which is handed over by itself.

Masks stay at the resolution of the head until the last moment: they are resized by chunks of queries, and score planes
are made by chunks of classes with a running maximum, so that neither ``Q x H x W`` masks nor ``K x H x W`` scores of a
large picture stand in memory where only labels are wanted. On a CPU they are made by tiles (:mod:`.tiled_masks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from denseclip.core.placement import Placement

from .label_map import label_dtype
from .mask_tiles import can_tile
from .tiled_masks import compete_by_tiles, instances_by_tiles, labels_by_tiles

DEFAULT_BUDGET = 64 * 2**20
"""Bytes of one chunk of full-size planes."""

# PyTorch takes another bilinear kernel, with other rounding, for fewer planes.
_MIN_PLANES = 4


AS_IS = Placement()


@dataclass(frozen=True)
class PanopticSegments:
    """A panoptic map.

    Attributes:
        ids: Segment of each pixel, int32 (H, W); 0: none.
        labels: Class of segment ``i + 1``, int64 (S,).
        scores: Probability of its class, (S,); of merged stuff that of its first mask.
        is_thing: Whether its class is countable, bool (S,).
    """

    ids: Tensor
    labels: Tensor
    scores: Tensor
    is_thing: Tensor

    def segments_info(self) -> list[dict[str, int | float | bool]]:
        """One entry per segment with ``id``, ``category_id`` (the class index), ``isthing`` and ``score``."""
        rows = zip(self.labels.tolist(), self.scores.tolist(), self.is_thing.tolist(), strict=True)
        return [
            {'id': i, 'category_id': label, 'isthing': thing, 'score': score}
            for i, (label, score, thing) in enumerate(rows, start=1)
        ]


@dataclass(frozen=True)
class MaskInstances:
    """Instances in no particular order.

    Attributes:
        masks: bool (N, H, W).
        labels: Classes, int64 (N,).
        scores: Class probability times mean mask probability inside, (N,).
        queries: Query that each came from, int64 (N,).
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor
    queries: Tensor


def semantic_scores(class_probs: Tensor, mask_logits: Tensor) -> Tensor:
    """Class scores of each pixel: the sum over all queries of class probability times mask probability.

    Args:
        class_probs: Class probabilities of the queries, without "no object".
        mask_logits: Their mask logits.

    Shape:
        class_probs ``(..., Q, K)``, mask_logits ``(..., Q, h, w)``; result ``(..., K, h, w)``
    """
    _check_queries(class_probs, mask_logits)
    return torch.einsum('...qk,...qhw->...khw', class_probs.to(mask_logits.dtype), mask_logits.sigmoid())


def semantic_labels(
    class_probs: Tensor,
    mask_logits: Tensor,
    geometry: Placement = AS_IS,
    *,
    merge_first: bool = True,
    are_logits: bool = True,
    budget: int = DEFAULT_BUDGET,
) -> Tensor:
    """Label map of one picture: the argmax of :func:`semantic_scores` in the picture's own size.

    Args:
        class_probs: Class probabilities of the queries, without "no object".
        mask_logits: Their mask logits (or with ``are_logits=False`` probabilities).
        geometry: How planes reach the picture's size.
        merge_first: True: merge at the size of the padded input, then cut and resize the class planes (MaskFormer's
            semantic models). False: cut and resize the masks, then merge (models that also do panoptic or instance
            inference).
        are_logits: Whether ``mask_logits`` still pass the sigmoid, after resizing.
        budget: Bytes that one chunk of class planes may take.

    Returns:
        Class per pixel, in :func:`~denseclip.models.functional.label_map.label_dtype`; the lowest index among equals.

    Raises:
        ValueError: If the numbers of queries differ or there is no class.

    Shape:
        class_probs ``(Q, K)``, mask_logits ``(Q, h, w)``; result ``geometry.result_size(mask_logits)``
    """
    _check_queries(class_probs, mask_logits)
    num_classes = class_probs.shape[1]
    if not num_classes:
        raise ValueError('class_probs has no column: give at least one class.')
    size = geometry.result_size(mask_logits)
    if can_tile(mask_logits, geometry) and bool(torch.stack(class_probs.aminmax()).isfinite().all()):
        return labels_by_tiles(class_probs, mask_logits, geometry, merge_first, are_logits, budget)
    masks = geometry.enlarge(mask_logits) if merge_first else _apply_in_chunks(mask_logits, geometry, budget)
    if are_logits:
        masks = masks.sigmoid()
    labels = torch.zeros(size, dtype=label_dtype(num_classes), device=masks.device)
    best = masks.new_full(size, -torch.inf)
    step = max(_MIN_PLANES, budget // max(1, geometry.largest(mask_logits) * masks.element_size()))
    for start in range(0, num_classes, step):
        # A plain product: einsum goes through bmm, which took 533 instead of 217 MiB for 100 masks of 640 x 854.
        planes = (class_probs[:, start : start + step].T.to(masks.dtype) @ masks.flatten(1)).unflatten(
            1, masks.shape[1:]
        )
        score, index = (geometry.finish(planes) if merge_first else planes).max(dim=0)
        labels = torch.where(score > best, (index + start).to(labels.dtype), labels)
        best = torch.maximum(best, score)
    return labels


def panoptic_segments(
    class_probs: Tensor,
    mask_logits: Tensor,
    is_thing: Tensor,
    geometry: Placement = AS_IS,
    *,
    no_object: Tensor | None = None,
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    budget: int = DEFAULT_BUDGET,
) -> PanopticSegments:
    """Panoptic map of one picture.

    Queries whose best class is not "no object" and more probable than ``score_threshold`` compete for each pixel with
    class probability times mask probability. A query is dropped if it wins less than ``overlap_threshold`` of its own
    mask (probability 0.5 and more); it keeps those pixels that it won and that are in its mask. Stuff of one class is
    one segment.

    Args:
        class_probs: Class probabilities of the queries, without "no object".
        mask_logits: Their mask logits.
        is_thing: Whether each class is countable.
        geometry: How masks reach the picture's size.
        no_object: Probability of "no object" of each query; None: there is no such class.
        score_threshold: 0..1, exclusive; MAFT+ 0.2, FC-CLIP 0.0, Mask2Former 0.8.
        overlap_threshold: 0..1; MAFT+ 0.7, FC-CLIP and Mask2Former 0.8.
        budget: Bytes that one chunk of masks may take.

    Returns:
        Segments numbered from 1 in the order of their (first) queries.

    Raises:
        ValueError: If numbers of queries or classes differ.

    Shape:
        class_probs ``(Q, K)``, mask_logits ``(Q, h, w)``, is_thing ``(K,)``, no_object ``(Q,)``
    """
    _check_queries(class_probs, mask_logits)
    is_thing = _check_things(is_thing, class_probs)
    scores, labels = class_probs.max(dim=1)
    kept = scores > score_threshold
    if no_object is not None:
        kept &= scores >= no_object
    scores, labels = scores[kept], labels[kept]
    masks = mask_logits[kept]
    compete = compete_by_tiles if can_tile(masks, geometry) else _compete
    winner, confident, own_area = compete(scores, masks, geometry, budget)
    count = scores.shape[0]
    won = torch.bincount(winner.flatten(), minlength=count)[:count]
    left = torch.bincount(winner[confident], minlength=count)[:count]
    accepted = (left > 0) & (won / own_area.clamp_min(1) >= overlap_threshold)
    number, first = _number_segments(labels, is_thing[labels], accepted)
    padded = torch.cat([number, number.new_zeros(1)])  # one more, so that no query at all needs no case of its own
    ids = torch.where(confident, padded[winner], 0)
    return PanopticSegments(ids.int(), labels[first], scores[first], is_thing[labels[first]])


def instance_predictions(
    class_probs: Tensor,
    mask_logits: Tensor,
    geometry: Placement = AS_IS,
    *,
    is_thing: Tensor | None = None,
    topk: int = 100,
    budget: int = DEFAULT_BUDGET,
) -> MaskInstances:
    """Instances of one picture: the best pairs of query and class, then only countable classes.

    A query may give several instances of different classes. The score is the class probability times the mean mask
    probability over the pixels of the mask (logit above 0).

    Args:
        class_probs: Class probabilities of the queries, without "no object".
        mask_logits: Their mask logits.
        geometry: How masks reach the picture's size.
        is_thing: Whether each class is countable; the others are left out after the choice of the best pairs. None:
            all are.
        topk: Number of pairs.
        budget: Bytes that one chunk of masks may take.

    Returns:
        At most ``topk`` instances, most probable class first.

    Raises:
        ValueError: If numbers of queries or classes differ.

    Shape:
        class_probs ``(Q, K)``, mask_logits ``(Q, h, w)``, is_thing ``(K,)``
    """
    _check_queries(class_probs, mask_logits)
    num_classes = class_probs.shape[1]
    scores, pairs = class_probs.flatten().topk(min(topk, class_probs.numel()))
    labels, queries = pairs % num_classes, pairs // num_classes
    if is_thing is not None:
        countable = _check_things(is_thing, class_probs)[labels]
        scores, labels, queries = scores[countable], labels[countable], queries[countable]
    used, place = queries.unique(return_inverse=True)
    cut_out = instances_by_tiles if can_tile(mask_logits, geometry) else _cut_out
    masks, quality = cut_out(mask_logits[used], geometry, budget)
    return MaskInstances(masks[place], labels, scores * quality[place].to(scores.dtype), queries)


def _cut_out(mask_logits: Tensor, geometry: Placement, budget: int) -> tuple[Tensor, Tensor]:
    """Masks in the picture's size, bool (Q, H, W), and the mean probability inside of each, (Q,)."""
    size, count = geometry.result_size(mask_logits), mask_logits.shape[0]
    masks = torch.zeros((count, *size), dtype=torch.bool, device=mask_logits.device)
    quality = mask_logits.new_zeros(count, dtype=torch.float32)  # float16 ends at 65,504 pixels
    for start, planes in _chunks(mask_logits, geometry, budget):
        part = slice(start, start + planes.shape[0])
        inside = planes > 0
        masks[part] = inside
        total = (planes.float().sigmoid() * inside).flatten(1).sum(1)
        quality[part] = total / (inside.flatten(1).sum(1) + 1e-6)
    return masks, quality


def _compete(scores: Tensor, mask_logits: Tensor, geometry: Placement, budget: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query that wins each pixel, whether the pixel is in that query's own mask, and the area of each mask."""
    size, device = geometry.result_size(mask_logits), mask_logits.device
    # As exact as the values, or rounding would decide between queries of different chunks.
    exact = torch.promote_types(scores.dtype, mask_logits.dtype)
    best = torch.full(size, -torch.inf, dtype=exact, device=device)
    winner = torch.zeros(size, dtype=torch.long, device=device)
    confident = torch.zeros(size, dtype=torch.bool, device=device)
    areas = torch.zeros(scores.shape[0], dtype=torch.long, device=device)
    for start, planes in _chunks(mask_logits, geometry, budget):
        probability = planes.sigmoid()
        part = slice(start, start + planes.shape[0])
        areas[part] = (probability >= 0.5).flatten(1).sum(1)
        value, index = (scores[part, None, None] * probability).max(dim=0)
        better = value > best
        own = probability.gather(0, index[None])[0] >= 0.5
        winner = torch.where(better, index + start, winner)
        confident = torch.where(better, own, confident)
        best = torch.maximum(best, value)
    return winner, confident, areas


def _number_segments(labels: Tensor, is_thing: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """Segment number of each query (0: dropped), and the first query of each segment.

    Things have a number each; stuff of one class shares that of its first query.
    """
    order = torch.arange(labels.shape[0], device=labels.device)
    same = (labels[:, None] == labels[None]) & ~is_thing[None] & accepted[None]
    same |= order[:, None] == order[None]
    leader = torch.where(same, order[None], labels.shape[0]).amin(dim=1) if labels.numel() else order
    leads = accepted & (leader == order)
    number = leads.cumsum(0)
    return torch.where(accepted, number[leader], 0), order[leads]


def _chunks(mask_logits: Tensor, geometry: Placement, budget: int) -> Iterator[tuple[int, Tensor]]:
    """Masks in the picture's size, some at a time, each with the number of its first one."""
    step = max(_MIN_PLANES, budget // max(1, geometry.largest(mask_logits) * mask_logits.element_size()))
    for start in range(0, mask_logits.shape[0], step):
        yield start, geometry.apply(mask_logits[start : start + step])


def _apply_in_chunks(mask_logits: Tensor, geometry: Placement, budget: int) -> Tensor:
    if geometry.out is None or geometry.padded is None:
        return geometry.apply(mask_logits)
    return torch.cat([planes for _, planes in _chunks(mask_logits, geometry, budget)])


def _check_queries(class_probs: Tensor, mask_logits: Tensor) -> None:
    if class_probs.ndim < 2 or mask_logits.ndim < 3 or class_probs.shape[-2] != mask_logits.shape[-3]:
        raise ValueError(
            f'class_probs must be (Q, K) and mask_logits (Q, h, w) of the same queries, got '
            f'{tuple(class_probs.shape)} and {tuple(mask_logits.shape)}.'
        )


def _check_things(is_thing: Tensor, class_probs: Tensor) -> Tensor:
    if is_thing.shape != class_probs.shape[1:]:
        raise ValueError(
            f'is_thing has shape {tuple(is_thing.shape)}, but there are {class_probs.shape[1]} classes: give one value '
            'per class.'
        )
    return is_thing.to(device=class_probs.device, dtype=torch.bool)
