"""Fields of an anomaly data sample."""

import pytest
import torch
from mmengine.structures import PixelData

from denseclip.structures import AnomalyDataSample


def test_fields_keep_their_types():
    sample = AnomalyDataSample(metainfo=dict(category='bottle'))
    sample.gt_label = torch.tensor(1)
    sample.pred_score = torch.tensor(0.5)
    sample.anomaly_map = PixelData(data=torch.zeros(1, 4, 5))
    sample.gt_mask = PixelData(data=torch.ones(1, 4, 5, dtype=torch.bool))
    assert (sample.gt_label, sample.pred_score, sample.category) == (1, 0.5, 'bottle')
    assert type(sample.gt_label) is int and type(sample.pred_score) is float
    assert sample.anomaly_map.shape == (4, 5) and sample.gt_mask.data.dtype == torch.bool
    moved = sample.to('meta')
    assert moved.anomaly_map.data.is_meta and moved.pred_score == 0.5
    assert set(sample.keys()) == {'gt_label', 'pred_score', 'anomaly_map', 'gt_mask'}


def test_a_map_must_be_pixel_data():
    with pytest.raises(AssertionError, match='PixelData'):
        AnomalyDataSample().anomaly_map = torch.zeros(1, 4, 5)


def test_fields_can_be_removed():
    sample = AnomalyDataSample(pred_score=0.25)
    del sample.pred_score
    assert 'pred_score' not in sample
