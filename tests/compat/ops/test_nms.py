"""Suppression against direct transcriptions of mmcv's C++ loops (``ops/csrc/pytorch/cpu/nms.cpp``)."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms

F32 = np.float32


def _boxes(count, seed, spread=40.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * spread
    boxes = torch.cat((corner, corner + 5 + torch.rand(count, 2, generator=generator) * 25), dim=1)
    return boxes, torch.rand(count, generator=generator)


def _iou(one, other, offset):
    width = max(F32(0), min(one[2], other[2]) - max(one[0], other[0]) + F32(offset))
    height = max(F32(0), min(one[3], other[3]) - max(one[1], other[1]) + F32(offset))
    inter = width * height
    areas = [(box[2] - box[0] + F32(offset)) * (box[3] - box[1] + F32(offset)) for box in (one, other)]
    return inter / (areas[0] + areas[1] - inter)


def _nms_loop(boxes, scores, threshold, offset):
    boxes, kept = boxes.numpy(), []
    for index in np.argsort(-scores.numpy(), kind='stable'):
        if all(_iou(boxes[other], boxes[index], offset) <= threshold for other in kept):
            kept.append(int(index))
    return kept


def _soft_nms_loop(boxes, scores, threshold, sigma, min_score, method, offset):
    rows = [[boxes[index].numpy(), scores[index].numpy(), index] for index in range(len(boxes))]
    count, step = len(rows), 0
    while step < count:
        best = max(range(step, count), key=lambda i: (rows[i][1], -i))
        rows[step], rows[best] = rows[best], rows[step]
        position = step + 1
        while position < count:
            overlap = _iou(rows[step][0], rows[position][0], offset)
            weight = F32(1)
            if method == 'gaussian':
                weight = F32(math.exp(-(overlap * overlap) / F32(sigma)))
            elif overlap >= F32(threshold):
                weight = F32(0) if method == 'naive' else F32(1) - overlap
            rows[position][1] = rows[position][1] * weight
            if rows[position][1] < F32(min_score):
                rows[position] = rows[count - 1]
                count -= 1
            else:
                position += 1
        step += 1
    return [row[2] for row in rows[:count]], [float(row[1]) for row in rows[:count]]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('seed', range(5))
def test_nms_equals_loop(seed, offset):
    boxes, scores = _boxes(40, seed)
    dets, kept = nms(boxes, scores, 0.4, offset=offset)
    assert kept.tolist() == _nms_loop(boxes, scores, F32(0.4), offset)
    assert torch.equal(dets, torch.cat((boxes[kept], scores[kept, None]), dim=1))


def test_nms_offset_decides():
    """Two boxes that touch: IoU 0 with open boxes, 11 / 231 with inclusive ones."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.04, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.04, offset=1)[1].tolist() == [0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_low_precision(dtype):
    boxes = torch.tensor([[0, 0, 512, 512], [0, 0, 512, 500], [600, 600, 700, 700]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    assert nms(boxes, scores, 0.5)[1].tolist() == [1, 2]


def test_nms_mixed_types():
    """Under autocast boxes stay float32 while scores are low precision."""
    boxes, scores = _boxes(10, 0)
    low = scores.bfloat16()
    assert torch.equal(nms(boxes, low, 0.5)[1], nms(boxes, low.float(), 0.5)[1])


def test_nms_empty_and_degenerate():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1].dtype == torch.long
    points = torch.zeros(2, 4)  # no area: overlap is 0 / 0, which must suppress nothing
    assert nms(points, torch.tensor([0.2, 0.1]), 0.5)[1].tolist() == [0, 1]


def test_batched_nms_keeps_classes_apart():
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    kept = batched_nms(boxes, torch.tensor([0.5, 0.7, 0.6]), torch.tensor([0, 1, 0]), {'iou_threshold': 0.5})[1]
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('seed', range(3))
def test_soft_nms_equals_loop(method, seed):
    boxes, scores = _boxes(30, seed, spread=25.0)
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset=seed % 2)
    expected, expected_scores = _soft_nms_loop(boxes, scores, 0.3, 0.5, 0.05, method, seed % 2)
    assert kept.tolist() == expected
    assert dets[:, 4].tolist() == pytest.approx(expected_scores, rel=1e-6)
    assert torch.equal(dets[:, :4], boxes[kept])


def test_soft_nms_empty():
    dets, kept = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert kept.numel() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_soft_nms_low_precision(dtype):
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5]], dtype=dtype)
    dets, kept = soft_nms(boxes, torch.tensor([0.5, 0.25], dtype=dtype), 0.25, method='linear')
    assert kept.tolist() == [0, 1]
    assert dets[:, 4].tolist() == [0.5, 0.125]


def test_nms_match_groups():
    boxes, scores = _boxes(25, 3)
    dets = torch.cat((boxes, scores[:, None]), dim=1)
    groups = [group.tolist() for group in nms_match(dets, 0.4)]
    assert sorted(sum(groups, [])) == list(range(25))
    heads = [group[0] for group in groups]
    assert heads == sorted(heads, key=lambda index: -scores[index])
    for number, (head, *members) in enumerate(groups):
        for member in members:
            assert _iou(boxes[head].numpy(), boxes[member].numpy(), 0) >= F32(0.4)
            assert all(_iou(boxes[h].numpy(), boxes[member].numpy(), 0) < F32(0.4) for h in heads[:number])
