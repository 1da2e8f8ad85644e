"""Measures from curves against scikit-learn, at any ties and sizes, and their values at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from denseclip.evaluation.anomaly import auroc, average_precision, curve_of, f1_max, trapezoid_average_precision

SAMPLES = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5000001, 3.0]), st.booleans()), min_size=2, max_size=40
)


def best_f1(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid='ignore'):
        return np.nanmax(2 * precision * recall / (precision + recall))


@settings(max_examples=30, deadline=None)
@given(SAMPLES)
def test_equal_to_scikit_learn(samples):
    scores, labels = np.array([s for s, _ in samples]), np.array([label for _, label in samples])
    curve = curve_of(scores, labels)
    if labels.all() or not labels.any():
        assert math.isnan(auroc(curve))
    else:
        assert auroc(curve) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    if not labels.any():
        assert math.isnan(average_precision(curve)) and math.isnan(f1_max(curve)[0])
        assert math.isnan(trapezoid_average_precision(curve))
        return
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert average_precision(curve) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert trapezoid_average_precision(curve) == pytest.approx(auc(recall, precision), abs=1e-12)
    f1, threshold = f1_max(curve)
    assert f1 == pytest.approx(best_f1(labels, scores), abs=1e-12)
    found = scores >= threshold
    assert f1 == pytest.approx(2 * (found & labels).sum() / (found.sum() + labels.sum()), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(SAMPLES, st.sampled_from([lambda x: 100 * x - 7, np.arctan, lambda x: x / 1000]))
def test_only_the_order_matters(samples, change):
    scores, labels = np.array([s for s, _ in samples]), np.array([label for _, label in samples])
    before, after = curve_of(scores, labels), curve_of(change(scores), labels)
    for measure in (auroc, average_precision, lambda c: f1_max(c)[0]):
        assert measure(after) == pytest.approx(measure(before), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize('label', [True, False])
def test_one_sample(label):
    curve = curve_of(np.array([0.3]), np.array([label]))
    assert math.isnan(auroc(curve))
    assert (f1_max(curve) == (1.0, 0.3)) is label
    assert (average_precision(curve) == 1.0) is label


def test_constant_scores():
    curve = curve_of(np.full(8, 0.5), np.arange(8) < 2)
    assert (auroc(curve), average_precision(curve)) == (0.5, 0.25)
    assert f1_max(curve) == (pytest.approx(0.4), 0.5)


def test_nothing_at_all():
    curve = curve_of(np.zeros(0), np.zeros(0, bool))
    assert curve.num_anomalous == 0 and math.isnan(auroc(curve)) and math.isnan(average_precision(curve))
