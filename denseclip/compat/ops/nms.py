"""Non-maximum suppression: hard, soft, and with the suppressed boxes listed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype

_NAIVE, _LINEAR, _GAUSSIAN = 0, 1, 2


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Keep the best box of each group that overlaps by more than a threshold.

    Args:
        boxes: Boxes as ``(x1, y1, x2, y2)``.
        scores: Their scores.
        iou_threshold: A box is dropped when its IoU with a better, kept box is larger.
        offset: Added to widths and heights (1 for inclusive pixel boxes).

    Returns:
        Indices of the kept boxes, best first.

    Shape:
        ``boxes`` (N, 4), ``scores`` (N,), result (K,) of ``int64``.
    """
    if boxes.shape[0] == 0:
        return boxes.new_empty(0, dtype=torch.long)
    dtype = compute_dtype(boxes)
    boxes = boxes.detach().to(dtype)
    if offset:
        # min(x2) + offset - max(x1) is the inclusive width, so moving the far corner once is the same convention.
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    return torchvision.ops.nms(boxes, scores.detach().to(dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int = 0,
) -> Tensor:
    """Lower the scores of overlapping boxes instead of dropping them (Bodla et al., ICCV 2017, figure 2).

    The result has the order of mmcv's C++ loop, which moves the last box into the place of one that fell below
    ``min_score``; among equal scores the order decides.

    Args:
        boxes: Boxes as ``(x1, y1, x2, y2)`` on the CPU.
        scores: Their scores on the CPU.
        dets: Output; the first K rows receive box and decayed score.
        iou_threshold: From which IoU on the naive and linear methods act.
        sigma: Width of the Gaussian method.
        min_score: Boxes whose score falls below are dropped.
        method: 0 naive, 1 linear, 2 Gaussian.
        offset: Added to widths and heights.

    Returns:
        Indices of the K kept boxes, in the order of ``dets``.

    Shape:
        ``boxes`` (N, 4), ``scores`` (N,), ``dets`` (N, 5), result (K,) of ``int64``.
    """
    corners = boxes.detach().float().numpy()
    score = scores.detach().float().numpy().copy()
    size = corners[:, 2:] - corners[:, :2] + np.float32(offset)
    area = size[:, 0] * size[:, 1]
    order = np.arange(len(score))
    count, step = len(score), 0
    kept_scores = np.zeros(count, dtype=np.float32)
    while step < count:
        best = step + int(np.argmax(score[order[step:count]]))
        order[step], order[best] = order[best], order[step]
        chosen, rest = order[step], order[step + 1 : count]
        kept_scores[step] = score[chosen]
        overlap = _overlap_with(corners, area, chosen, rest, offset)
        score[rest] *= _decay(overlap, iou_threshold, sigma, method)
        count = _drop_by_swapping(order, score[order] < np.float32(min_score), step + 1, count)
        step += 1
    kept = torch.from_numpy(order[:count])
    dets[:count, :4] = boxes[kept].to(dets.dtype)
    dets[:count, 4] = torch.from_numpy(kept_scores[:count]).to(dets.dtype)
    return kept


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes by the better box that suppresses them.

    Args:
        dets: Boxes and scores as ``(x1, y1, x2, y2, score)`` on the CPU.
        iou_threshold: A box joins a group when its IoU with the group's best box is at least this.

    Returns:
        One list of row indices a group, the kept box first, groups by descending score.

    Shape:
        ``dets`` (N, 5).
    """
    rows = dets.detach().float().numpy()
    corners, zero = rows[:, :4], 0
    area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    remaining = np.argsort(-rows[:, 4], kind='stable')
    groups: list[list[int]] = []
    while remaining.size:
        best, rest = remaining[0], remaining[1:]
        joins = _overlap_with(corners, area, best, rest, zero) >= np.float32(iou_threshold)
        groups.append([int(best), *rest[joins].tolist()])
        remaining = rest[~joins]
    return groups


def _overlap_with(
    corners: np.ndarray[Any, Any], area: np.ndarray[Any, Any], one: Any, others: np.ndarray[Any, Any], offset: int
) -> np.ndarray[Any, Any]:
    """IoU of one box with several, in float32 as the C++ code computes it."""
    top_left = np.maximum(corners[one, :2], corners[others, :2])
    bottom_right = np.minimum(corners[one, 2:], corners[others, 2:])
    size = np.maximum(np.float32(0), bottom_right - top_left + np.float32(offset))
    inter = size[:, 0] * size[:, 1]
    with np.errstate(divide='ignore', invalid='ignore'):  # two boxes without area: NaN, which suppresses nothing
        return np.asarray(inter / (area[one] + area[others] - inter))


def _decay(overlap: np.ndarray[Any, Any], threshold: float, sigma: float, method: int) -> np.ndarray[Any, Any]:
    if method == _GAUSSIAN:
        return np.exp(-(overlap * overlap) / np.float32(sigma))
    weight = np.float32(0) if method == _NAIVE else np.float32(1) - overlap
    return np.where(overlap >= np.float32(threshold), weight, np.float32(1))


def _drop_by_swapping(order: np.ndarray[Any, Any], drop: np.ndarray[Any, Any], start: int, count: int) -> int:
    """Remove flagged entries of ``order[start:count]`` in place, filling each gap with the last entry."""
    position = start
    while position < count:
        gaps = np.flatnonzero(drop[position:count])
        if gaps.size == 0:
            break
        position += int(gaps[0])
        count -= 1
        order[position], drop[position] = order[count], drop[count]
    return count
