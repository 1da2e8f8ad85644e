"""From the masks of a query-based model to labels, segments and instances, on numpy.

What ``denseclip.models.functional.mask_inference`` computes with PyTorch. Masks are resized a band of rows at a time:
memory does not grow with queries x picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denseclip.runtime.confidences import softmax
from denseclip.runtime.kinds import Masks
from denseclip.runtime.label_maps import Box, label_type
from denseclip.runtime.resizing import Size, bilinear_matrix

_NUMBERS = 2**23
"""Scores that a band may hold."""


@dataclass(frozen=True)
class Queries:
    """Masks of one picture and their classes.

    Attributes:
        masks: Logits, at the resolution of the graph.
        classes: Probability of each class.
        nothing: Probability that a mask shows nothing.
        padded: Size of the network's input.
        valid: The part of it without padding.
        out: Size of the result.

    Shape:
        - masks: :math:`(Q, h, w)`; classes: :math:`(Q, K)`; nothing: :math:`(Q)`
    """

    masks: np.ndarray
    classes: np.ndarray
    nothing: np.ndarray
    padded: Size
    valid: Box
    out: Size

    def axes(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """How rows, and how columns, are enlarged to the picture in the input, and from there to the result."""
        first, last, left, right = self.valid
        down, across = (
            bilinear_matrix(length, whole)[start:stop]
            for length, whole, start, stop in (
                (self.masks.shape[1], self.padded[0], first, last),
                (self.masks.shape[2], self.padded[1], left, right),
            )
        )
        return (down, _fit(len(down), self.out[0])), (across, _fit(len(across), self.out[1]))

    def only(self, kept: np.ndarray) -> Queries:
        """Some of the masks, by numbers or bool."""
        return Queries(self.masks[kept], self.classes[kept], self.nothing[kept], self.padded, self.valid, self.out)

    def bands(self, count: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of the result and the logits (Q, h, W) of all masks there; ``count`` planes stand in memory."""
        (down, below), (across, beside) = self.axes()
        rows, columns = (below @ down).astype(np.float32), (beside @ across).astype(np.float32)
        step = max(1, _NUMBERS // (max(count, 1) * self.out[1]))
        for top in range(0, self.out[0], step):
            band = slice(top, min(top + step, self.out[0]))
            yield band, rows[band] @ self.masks @ columns.T


def class_probabilities(
    rule: Masks, groups: Sequence[Sequence[str]], trained: np.ndarray, clip: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the classes and of nothing.

    Args:
        rule: How the two classifiers are put together.
        groups: All names of each class.
        trained: Logits of the names by the trained classifier, "void" last.
        clip: The same by CLIP.
        valid: Masks for which CLIP has a say; None: all.

    Shape:
        - trained, clip: :math:`(Q, R + 1)`; valid: :math:`(Q)`; result: :math:`(Q, K)` and :math:`(Q)`
    """
    starts = np.concatenate([[0], np.cumsum([len(names) for names in groups])[:-1]])
    inside, outside = (np.maximum.reduceat(rows[:, :-1], starts, axis=1) for rows in (trained, clip))
    every = np.concatenate([inside, trained[:, -1:]], axis=1)
    shares = softmax(every.T).T
    if rule.combine == 'clip':
        scores = outside
    else:
        known = set(rule.seen)
        weight = np.array([rule.beta if known.isdisjoint(names) else rule.alpha for names in groups], dtype=np.float32)
        by = np.broadcast_to(weight, inside.shape) if valid is None else weight * valid[:, None]
        scores = (1 - by) * log_softmax(inside) + by * log_softmax(outside)
    rest, nothing = shares[:, :-1].sum(axis=1), shares[:, -1]
    if rule.void_trust:
        taken = nothing * rule.void_trust * softmax(outside.T).T.max(axis=1)
        rest, nothing = rest + taken, nothing - taken
    return softmax(scores.T).T * rest[:, None], nothing


def semantic_labels(queries: Queries, rule: Masks, left_out: np.ndarray | None = None) -> np.ndarray:
    """Class of every pixel: the largest sum over all masks of class probability times mask probability."""
    count = queries.classes.shape[1]
    labels = np.empty(queries.out, dtype=label_type(count + 1))
    for band, planes in _class_planes(queries, rule, left_out):
        labels[band] = planes.argmax(axis=0)
    return labels


def semantic_scores(queries: Queries, rule: Masks) -> np.ndarray:
    """Those sums, (K, H, W), within 0..1."""
    found = np.empty((queries.classes.shape[1], *queries.out), dtype=np.float32)
    for band, planes in _class_planes(queries, rule, None):
        found[:, band] = planes
    return found.clip(0, 1)


def _class_planes(queries: Queries, rule: Masks, left_out: np.ndarray | None) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the result and the scores (K, h, W) of the classes there."""
    classes = queries.classes if left_out is None else np.where(left_out, np.float32(-1), queries.classes)
    weights = np.ascontiguousarray(classes.T)
    if not rule.merge_first:
        for band, planes in queries.bands(max(classes.shape)):
            yield band, np.tensordot(weights, sigmoid(planes), axes=1)
        return
    yield from merged_planes(queries, weights, sigmoid)


def merged_planes(
    queries: Queries, weights: np.ndarray, shares: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the result and weighted sums (K, h, W) there of masks, merged before they are cut and resized.

    Args:
        queries: The masks.
        weights: Of each mask in each sum.
        shares: Makes logits what is added up.

    Shape:
        - weights: :math:`(K, Q)`
    """
    most = max(weights.shape)
    (down, below), (across, beside) = queries.axes()
    columns, narrow = across.astype(np.float32), beside.astype(np.float32)
    step = max(1, _NUMBERS // (most * max(len(columns), queries.out[1])))
    for top in range(0, queries.out[0], step):
        band = slice(top, min(top + step, queries.out[0]))
        used = np.flatnonzero(below[band].any(axis=0))
        rows = slice(used[0], used[-1] + 1)
        planes = shares(down[rows].astype(np.float32) @ queries.masks @ columns.T)
        scores = np.tensordot(weights, planes, axes=1)
        yield band, below[band, rows].astype(np.float32) @ scores @ narrow.T


def panoptic_segments(queries: Queries, rule: Masks, things: Sequence[bool]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Segment of every pixel (0: none), and what the segments are; stuff of one class is one segment.

    Returns:
        int32 (H, W), and an entry with ``id``, ``category_id``, ``isthing`` and ``score`` for each segment.
    """
    scores, labels = queries.classes.max(axis=1), queries.classes.argmax(axis=1)
    kept = (scores > rule.score_threshold) & (scores >= queries.nothing)
    scores, labels = scores[kept], labels[kept]
    count = len(scores)
    ids = np.zeros(queries.out, dtype=np.int32)
    if not count:
        return ids, []
    winner, confident = np.empty(queries.out, dtype=np.int64), np.empty(queries.out, dtype=bool)
    areas = np.zeros(count, dtype=np.int64)
    for band, planes in queries.only(kept).bands(count):
        shares = sigmoid(planes)
        areas += (shares >= 0.5).sum(axis=(1, 2))
        winner[band] = (scores[:, None, None] * shares).argmax(axis=0)
        confident[band] = np.take_along_axis(shares, winner[band][None], axis=0)[0] >= 0.5
    won = np.bincount(winner.reshape(-1), minlength=count)
    left = np.bincount(winner[confident], minlength=count)
    accepted = (left > 0) & (won / np.maximum(areas, 1) >= rule.overlap_threshold)
    numbers = np.zeros(count, dtype=np.int32)
    segments: list[dict[str, Any]] = []
    stuff: dict[int, int] = {}
    for query in np.flatnonzero(accepted):
        label = int(labels[query])
        if label in stuff:
            numbers[query] = stuff[label]
            continue
        numbers[query] = len(segments) + 1
        if not things[label]:
            stuff[label] = len(segments) + 1
        row = {'category_id': label, 'isthing': bool(things[label]), 'score': float(scores[query])}
        segments.append({'id': len(segments) + 1, **row})
    return np.where(confident, numbers[winner], 0).astype(np.int32), segments


@dataclass(frozen=True)
class Instances:
    """Objects, surest first.

    Attributes:
        boxes: ``x1, y1, x2, y2``, right and lower edges exclusive; float32.
        labels: Classes.
        scores: Class probability times mean mask probability inside.
        masks: Where they are.

    Shape:
        - boxes: :math:`(n, 4)`; labels, scores: :math:`(n)`; masks: :math:`(n, H, W)`, bool
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray


def instances(
    queries: Queries, rule: Masks, things: Sequence[bool], size: Size, least: float = 0.0, share: float = 0.0
) -> Instances:
    """The best pairs of mask and class, then only those of countable classes that are sure and large enough.

    Args:
        queries: The masks.
        rule: How many pairs there are.
        things: Whether each class is countable.
        size: The part of the result that masks are cut to, from its upper left corner.
        least: Least score, 0..1.
        share: Least part of ``size`` that a mask covers, 0..1.
    """
    flat, count = queries.classes.reshape(-1), queries.classes.shape[1]
    pairs = np.argsort(-flat, kind='stable')[: rule.topk]
    # A score is the class's probability times a mean of shares: where that is too low, no mask has to be made.
    pairs = pairs[np.array(things, dtype=bool)[pairs % count] & (flat[pairs] >= least)]
    used, place = np.unique(pairs // count, return_inverse=True)
    masks = np.zeros((len(used), *queries.out), dtype=bool)
    total, area = np.zeros(len(used)), np.zeros(len(used))
    for band, planes in queries.only(used).bands(len(used)):
        inside = planes > 0
        masks[:, band] = inside
        total += (sigmoid(planes) * inside).sum(axis=(1, 2))
        area += inside.sum(axis=(1, 2))
    scores = (flat[pairs] * (total / (area + 1e-6))[place].astype(np.float32)).astype(np.float32)
    boxes = np.array([_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4)
    masks = masks[:, : size[0], : size[1]]
    kept = np.flatnonzero((scores >= least) & (masks.mean(axis=(1, 2))[place] >= share))
    kept = kept[np.argsort(-scores[kept], kind='stable')]
    return Instances(boxes[place[kept]], pairs[kept] % count, scores[kept], masks[place[kept]])


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) else (0, 0, 0, 0)


def _fit(length: int, out: int) -> np.ndarray:
    return np.eye(length) if length == out else bilinear_matrix(length, out)


def log_softmax(rows: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of logits (Q, K)."""
    most = rows.max(axis=1, keepdims=True)
    return rows - most - np.log(np.exp(rows - most).sum(axis=1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Shares 0..1 of logits, float32."""
    with np.errstate(over='ignore'):  # of logits below -88, whose share is 0
        return np.float32(1) / (np.float32(1) + np.exp(-logits))
