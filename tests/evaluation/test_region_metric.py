"""Top-1, top-k and macro accuracy of regions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.evaluation import RegionMetric
from denseclip.evaluation.regions import region_accuracies


def test_macro_does_not_let_frequent_classes_decide() -> None:
    labels = torch.tensor([0] * 9 + [1])
    scores = torch.tensor([[1.0, 0.0, 0.5]] * 10)
    values = region_accuracies(scores, labels, (1, 2))
    assert values == pytest.approx({'top1': 90.0, 'top2': 90.0, 'macro': 50.0})
    assert region_accuracies(scores, labels, (3,))['top3'] == 100.0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 999))
def test_larger_k_is_never_worse_and_all_classes_are_always_right(classes: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    values = region_accuracies(scores, labels, (1, 3, classes))
    assert values['top1'] <= values[f'top{classes}'] == 100.0
    assert values['top1'] == pytest.approx(100 * (scores.argmax(dim=1) == labels).double().mean().item())


def test_regions_without_a_class_are_not_scored() -> None:
    metric = RegionMetric(top=(1,), per_class=True)
    metric.dataset_meta = dict(classes=('a', 'b'))
    rows = [(0, [1.0, 0.0]), (-1, [1.0, 0.0]), (1, [1.0, 0.0])]
    metric.process(None, [dict(gt_label=label, region_scores=torch.tensor(row)) for label, row in rows])
    assert metric.compute_metrics(metric.results) == {'top1': 50.0, 'macro': 50.0, 'regions': 2}


def test_missing_parts_are_named() -> None:
    metric = RegionMetric()
    with pytest.raises(ValueError, match='x.jpg: the data sample has no region_scores'):
        metric.process(None, [dict(gt_label=0, img_path='x.jpg')])
    with pytest.raises(ValueError, match='no region has a class of the vocabulary'):
        metric.compute_metrics([])
