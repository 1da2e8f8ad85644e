"""Panoptic quality (Kirillov et al., "Panoptic Segmentation", CVPR 2019), counted as panopticapi counts it.

panopticapi is on no package index, and MMDetection's metric needs it; its rules are:

* A predicted and a true segment of one class match where their IoU exceeds 0.5. Void pixels of the truth are taken out
  of the prediction's part of the union.
* True segments without a match are misses, except crowds, which never match.
* Predictions without a match are false alarms, unless more than half of their pixels lie on void or on the (last
  listed) crowd of their class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from denseclip.structures.panoptic import VOID


class PanopticFormatError(ValueError):
    """A panoptic map and its list of segments do not fit together."""


@dataclass
class PanopticCounts:
    """Matches, false alarms and misses of each class; counts of several pictures or processes can be added.

    Attributes:
        num_classes: ``K``.
        iou: Sum of the IoU of matched pairs, float64 (K,).
        tp: Matches, int64 (K,).
        fp: False alarms, int64 (K,).
        fn: Misses, int64 (K,).
    """

    num_classes: int
    iou: np.ndarray = field(init=False)
    tp: np.ndarray = field(init=False)
    fp: np.ndarray = field(init=False)
    fn: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.iou = np.zeros(self.num_classes)
        self.tp, self.fp, self.fn = (np.zeros(self.num_classes, dtype=np.int64) for _ in range(3))

    def __iadd__(self, other: PanopticCounts) -> PanopticCounts:
        """Add the counts of other pictures."""
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self

    def update(
        self,
        true_ids: np.ndarray,
        true_segments: Sequence[Mapping[str, Any]],
        pred_ids: np.ndarray,
        pred_segments: Sequence[Mapping[str, Any]],
    ) -> None:
        """Count one picture.

        Args:
            true_ids: Segment of each pixel, 0 = void.
            true_segments: ``id``, ``category_id`` (class index), ``iscrowd`` and, if known, ``area`` of each segment.
            pred_ids: The same of the prediction.
            pred_segments: ``id`` and ``category_id`` of each segment; every one has pixels, and every id is listed.

        Raises:
            PanopticFormatError: If sizes differ, a list does not fit its map, or a class is out of range.

        Shape:
            true_ids and pred_ids ``(H, W)``
        """
        if true_ids.shape != pred_ids.shape:
            raise PanopticFormatError(f'the prediction has size {pred_ids.shape}, the truth {true_ids.shape}.')
        (true_runs, pred_runs), lengths = _runs(true_ids, pred_ids)
        truth = _Side.of(true_runs, lengths, true_segments, self.num_classes, 'true', complete=False)
        pred = _Side.of(pred_runs, lengths, pred_segments, self.num_classes, 'predicted', complete=True)
        overlap = _overlaps(truth, pred, lengths)
        crossing = overlap[1:, 1:]
        union = pred.area[None] + truth.area[:, None] - crossing - overlap[0, None, 1:]
        iou = crossing / np.maximum(union, 1)
        same = (truth.label[:, None] == pred.label[None]) & ~truth.crowd[:, None]
        rows, columns = np.nonzero(same & (iou > 0.5))
        np.add.at(self.tp, pred.label[columns], 1)
        np.add.at(self.iou, pred.label[columns], iou[rows, columns])
        missed = ~truth.crowd
        missed[rows] = False
        np.add.at(self.fn, truth.label[missed], 1)
        alarms = np.ones(len(pred.label), dtype=bool)
        alarms[columns] = False
        ignored = overlap[0, 1:] + _on_crowd(truth, pred, crossing)
        alarms &= ~(ignored / np.maximum(pred.area, 1) > 0.5)
        np.add.at(self.fp, pred.label[alarms], 1)

    def per_class(self) -> dict[str, np.ndarray]:
        """``PQ``, ``SQ`` and ``RQ`` of each class, 0..1; NaN for classes that nothing was counted of."""
        total = self.tp + 0.5 * self.fp + 0.5 * self.fn
        with np.errstate(invalid='ignore', divide='ignore'):
            present = np.where(total > 0, 1.0, np.nan)
            sq = np.where(self.tp > 0, self.iou / self.tp, 0.0) * present
            return {'PQ': self.iou / total, 'SQ': sq, 'RQ': self.tp / total}

    def means(
        self, is_thing: Sequence[bool] | np.ndarray, sets: Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, float]:
        """Means over the classes that occur: ``PQ``, ``SQ``, ``RQ``, and with ``_th`` and ``_st`` over one kind.

        Args:
            is_thing: Whether each class is countable.
            sets: Named sets of classes, which add ``PQ-NAME``, ``SQ-NAME``, ``RQ-NAME``.

        Returns:
            Values in 0..1; 0 for a kind of which nothing was counted, as in panopticapi.
        """
        things = np.asarray(is_thing, dtype=bool)
        groups = {'': np.ones_like(things), '_th': things, '_st': ~things}
        for name, labels in (sets or {}).items():
            groups[f'-{name}'] = np.isin(np.arange(self.num_classes), labels)
        values = self.per_class()
        occurs = ~np.isnan(values['PQ'])
        return {
            name + suffix: float(value[group & occurs].mean()) if (group & occurs).any() else 0.0
            for suffix, group in groups.items()
            for name, value in values.items()
        }


def _runs(*maps: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Maps of one size as runs of pixels in which none of them changes: their values, and how many pixels each has.

    Segments are wide, so there are far fewer runs than pixels to sort and to count.
    """
    flat = [ids.reshape(-1) for ids in maps]
    changes = np.zeros(max(flat[0].size - 1, 0), dtype=bool)
    for ids in flat:
        changes |= ids[1:] != ids[:-1]
    starts = np.append(np.zeros(min(flat[0].size, 1), dtype=np.int64), np.flatnonzero(changes) + 1)
    return [ids[starts] for ids in flat], np.diff(starts, append=flat[0].size)


def _counted(places: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Pixels of each place below ``size``, int64; sums of whole numbers are exact."""
    return np.bincount(places, weights=lengths, minlength=size).astype(np.int64)


@dataclass(frozen=True)
class _Side:
    """Segments of one map: place of each run's segment (0: void, or unlisted in the truth), class, crowd, area."""

    index: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    void: np.ndarray

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        lengths: np.ndarray,
        segments: Sequence[Mapping[str, Any]],
        num_classes: int,
        what: str,
        *,
        complete: bool,
    ) -> _Side:
        listed = np.array([s['id'] for s in segments], dtype=np.int64)
        label = np.array([s['category_id'] for s in segments], dtype=np.int64)
        if len(np.unique(listed)) != len(listed) or VOID in listed:
            raise PanopticFormatError(f'{what} segments must have different ids other than {VOID}, got {listed}.')
        if len(label) and (label.min() < 0 or label.max() >= num_classes):
            raise PanopticFormatError(
                f'{what} segments have classes {np.unique(label)}, known are 0..{num_classes - 1}.'
            )
        found, inverse = np.unique(ids, return_inverse=True)
        order = np.argsort(listed)
        place = np.searchsorted(listed[order], found)
        known = place < len(listed)
        known[known] = listed[order][place[known]] == found[known]
        if complete and (strange := found[~known & (found != VOID)]).size:
            raise PanopticFormatError(f'the {what} map has segments {strange} that the list lacks.')
        number = np.zeros(len(found), dtype=np.int64)
        number[known] = order[place[known]] + 1
        index = number[inverse.reshape(-1)]
        counted = _counted(index, lengths, len(listed) + 1)[1:]
        if complete and (empty := listed[counted == 0]).size:
            raise PanopticFormatError(f'{what} segments {empty} have no pixel in the map.')
        given = [s.get('area') for s in segments]
        area = np.array([n if a is None else a for n, a in zip(counted, given, strict=True)], dtype=np.int64)
        crowd = np.array([bool(s.get('iscrowd', 0)) for s in segments], dtype=bool)
        # Pixels of an id that the truth's list lacks are neither void nor a segment: nothing is known of them.
        return cls(index, label, crowd, counted if complete else area, (found == VOID)[inverse.reshape(-1)])


def _overlaps(truth: _Side, pred: _Side, lengths: np.ndarray) -> np.ndarray:
    """Common pixels of each pair, (1 + T, 1 + P); row 0 is the truth's void."""
    known = (truth.index > 0) | truth.void
    shape = (len(truth.label) + 1, len(pred.label) + 1)
    pairs = truth.index[known] * shape[1] + pred.index[known]
    return _counted(pairs, lengths[known], shape[0] * shape[1]).reshape(shape)


def _on_crowd(truth: _Side, pred: _Side, crossing: np.ndarray) -> np.ndarray:
    """Pixels of each prediction on the last crowd of its class."""
    on = np.zeros(len(pred.label), dtype=np.int64)
    for row in np.flatnonzero(truth.crowd):  # few; a later one of the same class takes the place of an earlier one
        mine = pred.label == truth.label[row]
        on[mine] = crossing[row, mine]
    return on
