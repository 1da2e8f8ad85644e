"""Boundary IoU against erosion mask by mask, as its paper defines it, and against hand-made cases."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.engine.config import OptionError, load_config
from denseclip.engine.launch import _score_boundaries
from denseclip.evaluation import BoundaryIoUMetric
from denseclip.evaluation.boundary import band_width, boundary_band, boundary_counts


def eroded_band(mask, width):
    """One mask without what is left after erosions by 3 x 3; outside the picture is no mask."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    left = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask & (left[1:-1, 1:-1] == 0)


def blobs(seed, classes, size=(23, 31)):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, classes, (4, 5)).astype(np.float32)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 14), st.sampled_from([0, 1000]))
def test_bands_of_all_classes_are_those_of_each_mask(seed, width, more):
    labels = blobs(seed, 4) + more * (blobs(seed + 1, 2) == 1)
    found = boundary_band(labels, width)
    for k in np.unique(labels):
        assert np.array_equal(found & (labels == k), eroded_band(labels == k, width))


def run(pairs, classes=3, **settings):
    metric = BoundaryIoUMetric(**settings)
    metric.dataset_meta = {'classes': tuple('abcdefghij'[:classes])}
    for guess, truth in pairs:
        planes = {'pred_sem_seg': {'data': torch.from_numpy(guess)[None]}}
        if truth is not None:
            planes['gt_sem_seg'] = {'data': torch.from_numpy(truth)[None]}
        metric.process(None, [planes])
    return metric


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_score_is_that_of_masks_over_all_pictures(seed):
    pairs = [(blobs(seed + k, 3), blobs(seed + k + 50, 3)) for k in range(2)]
    for _, truth in pairs:
        truth[2:6, 3:9] = 255
    width, ious = band_width((23, 31), 0.05), []
    for k in range(3):
        both = either = there = 0
        for guess, truth in pairs:
            known = truth != 255
            a, b = eroded_band(guess == k, width) & known, eroded_band(truth == k, width)
            both, either, there = both + (a & b).sum(), either + (a | b).sum(), there + b.sum()
        ious += [100 * both / either] if there else []
    metric = run(pairs, ratio=0.05)
    assert metric.compute_metrics(metric.results)['mBIoU'] == pytest.approx(np.mean(ious), abs=0.006)


def test_a_shifted_square_loses_at_its_edges_alone():
    truth = np.zeros((100, 100), np.int64)
    truth[20:80, 20:80] = 1
    perfect, moved = run([(truth, truth)], 2), run([(np.roll(truth, 3, 1), truth)], 2)
    assert perfect.compute_metrics(perfect.results)['mBIoU'] == 100
    inside = 100 * 60 * 57 / (60 * 63)
    assert moved.compute_metrics(moved.results)['mBIoU'] < inside - 20
    counts = boundary_counts(np.roll(truth, 3, 1), truth, 2)
    assert counts[1].tolist() == counts[2].tolist()  # the same band, elsewhere


def test_pictures_without_labels_and_other_shapes():
    empty = run([(np.zeros((4, 4), np.int64), None)])
    assert empty.compute_metrics(empty.results) == {}
    with pytest.raises(ValueError, match='differ in shape'):
        boundary_counts(np.zeros((4, 4)), np.zeros((4, 5)), 2)
    with pytest.raises(ValueError, match='ratio=0 must be'):
        BoundaryIoUMetric(ratio=0)


def test_the_option_adds_the_metric_where_pixels_are_scored():
    config = load_config('configs/maskclip/maskclip_vit-b16_zs_voc20-448x448.py')
    _score_boundaries(config)
    assert [evaluator.type for evaluator in config.test_evaluator] == ['IoUMetric', 'BoundaryIoUMetric']
    config.test_evaluator = dict(type='PanopticQualityMetric')
    with pytest.raises(OptionError, match='--boundary goes with label maps, which PanopticQualityMetric'):
        _score_boundaries(config)
