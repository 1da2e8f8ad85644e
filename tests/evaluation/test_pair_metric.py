"""Measures of pictures and captions on embeddings whose answers are known."""

import pytest
import torch

from denseclip.evaluation import PairMetric
from denseclip.evaluation.pairs import pair_measures


def test_equal_embeddings_have_no_gap_and_always_find_each_other():
    unit = torch.eye(4)
    assert pair_measures(unit, unit) == {'gap': 0.0, 'distance': 0.0, 'recall': 100.0}


def test_a_shift_is_the_gap_and_wrong_partners_are_counted():
    images, texts = torch.eye(4)[:2], torch.eye(4)[[1, 0]]
    assert pair_measures(images, texts) == {'gap': 0.0, 'distance': pytest.approx(2**0.5), 'recall': 0.0}
    assert pair_measures(images, texts, ['same', 'same'])['recall'] == 100.0
    shifted = pair_measures(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert shifted['gap'] == pytest.approx(2**0.5)


def test_the_metric_names_what_is_missing():
    metric = PairMetric(ending='_before')
    with pytest.raises(ValueError, match='image_embedding_before'):
        metric.process({}, [dict(image_embedding=torch.ones(2), text_embedding=torch.ones(2), caption_group='a')])
    with pytest.raises(ValueError, match='no pair'):
        metric.compute_metrics([])
    metric.process(
        {}, [{'image_embedding_before': torch.ones(1), 'text_embedding_before': torch.ones(1), 'caption_group': 'a'}]
    )
    assert metric.compute_metrics(metric.results)['pairs'] == 1
