"""Recall of class-agnostic proposals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import METRICS

from denseclip.evaluation.proposal_recall import ProposalRecallMetric, best_ious


def square(top: int, left: int, side: int = 4, size: int = 8) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_best_ious_by_hand(num_segments, num_proposals, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    segments = torch.rand(num_segments, 5, 6, generator=generator) < 0.4
    proposals = torch.rand(num_proposals, 5, 6, generator=generator) < 0.5
    void = torch.rand(5, 6, generator=generator) < 0.2
    segments &= ~void
    expected = []
    for segment in segments:
        values = [0.0]
        for proposal in proposals & ~void:
            union = float((segment | proposal).sum())
            values.append(float((segment & proposal).sum()) / union if union else 0.0)
        expected.append(max(values))
    assert best_ious(proposals, segments, void).tolist() == pytest.approx(expected)


def sample(proposals: torch.Tensor, *, panoptic: bool) -> dict:
    """Two things of class 3, one crowd, stuff of class 1 around them, void in a corner."""
    ids = torch.ones(8, 8, dtype=torch.int32)
    ids[square(0, 0)], ids[square(4, 4)], ids[square(0, 6, 2)], ids[7, 0] = 2, 3, 4, 0
    labels = torch.tensor([255, 1, 3, 3, 255])[ids.long()]
    truth = {'gt_sem_seg': {'data': labels[None]}}
    if panoptic:
        infos = [dict(id=i, category_id=c, iscrowd=i == 4) for i, c in ((1, 1), (2, 3), (3, 3), (4, 2))]
        truth['gt_panoptic_seg'] = {'data': ids[None], 'segments_info': infos}
    return {**truth, 'pred_proposals': {'masks': proposals}}


def scores(samples: list[dict], **settings_) -> dict[str, float]:
    metric = METRICS.build(dict(type='ProposalRecallMetric', **settings_))
    metric.dataset_meta = {'classes': ('a', 'b', 'c', 'd')}
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_things_are_counted_one_by_one_and_classes_alike() -> None:
    proposals = torch.stack([square(0, 0), square(0, 0) | square(4, 4)])  # IoU 1 and 0.5 with the second thing
    found = scores([sample(proposals, panoptic=True)], thresholds=(0.5, 0.75), sets={'rare': ['d'], 'stuff': [1]})
    assert found['segments'] == 3 and found['segments-rare'] == 2 and found['segments-stuff'] == 1
    assert found['recall-rare'] == 100 and found['recall@0.75-rare'] == 50
    assert found['recall-stuff'] == 0 and found['recall'] == 50
    assert found['recall_segments'] == pytest.approx(200 / 3)
    assert found['mean_iou-rare'] == pytest.approx(75)


def test_classes_are_the_segments_of_label_maps() -> None:
    both = (square(0, 0) | square(4, 4))[None]
    found = scores([sample(both, panoptic=False)])
    assert found['segments'] == 2 and found['recall'] == 50 and found['recall_segments'] == 50


def test_void_and_crowds_cost_nothing() -> None:
    background = ~(square(0, 0) | square(4, 4))  # also covers the crowd and the void corner
    assert scores([sample(background[None], panoptic=True)], sets={'stuff': ['b']})['mean_iou-stuff'] == 100


def test_nothing_proposed_and_a_set_without_segments() -> None:
    found = scores([sample(torch.zeros(0, 8, 8, dtype=torch.bool), panoptic=True)], sets={'none': ['a']})
    assert found['recall'] == 0 and math.isnan(found['recall-none']) and found['segments-none'] == 0


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"task='proposals'"):
        scores([{'gt_sem_seg': {'data': torch.zeros(1, 8, 8)}}])
    with pytest.raises(ValueError, match='neither'):
        scores([{'pred_proposals': {'masks': torch.zeros(1, 8, 8, dtype=torch.bool)}}])
    with pytest.raises(ValueError, match='after the resizing'):
        scores([sample(torch.zeros(1, 4, 4, dtype=torch.bool), panoptic=True)])
    with pytest.raises(ValueError, match='does not have'):
        scores([sample(torch.zeros(1, 8, 8, dtype=torch.bool), panoptic=True)], sets={'x': ['zebra']})
    with pytest.raises(ValueError, match='thresholds'):
        ProposalRecallMetric(thresholds=(1.5,))


def test_beyond_255_classes_the_label_255_is_a_class() -> None:
    labels = torch.full((8, 8), 65535)
    labels[square(0, 0)] = 255
    metric = ProposalRecallMetric()
    metric.dataset_meta = {'classes': tuple(map(str, range(300)))}
    metric.process({}, [{'gt_sem_seg': {'data': labels[None]}, 'pred_proposals': {'masks': square(0, 0)[None]}}])
    found = metric.evaluate(1)
    assert found['segments'] == 1 and found['recall'] == 100
