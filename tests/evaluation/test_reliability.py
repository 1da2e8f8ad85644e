"""Calibration error of known truths."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from denseclip.evaluation.reliability import BINS, Reliability


@pytest.fixture
def predictions():
    """Confidences, and answers that are right as often as a square root of them says."""
    rng = np.random.default_rng(0)
    confidence = rng.random((50, 400)).astype(np.float32)
    return confidence, rng.random(confidence.shape) < np.sqrt(confidence)


def test_is_0_where_confidences_are_frequencies():
    found = Reliability()
    for share in (0.1, 0.5, 0.9, 1.0):
        right = np.zeros(1000, bool)
        right[: round(1000 * share)] = True
        found.add(np.full(1000, share), right)
    assert found.error() == pytest.approx(0, abs=1e-9)
    assert found.overconfidence() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(('confidence', 'right', 'error'), [(1.0, False, 1.0), (0.75, True, 0.25), (0.0, False, 0.0)])
def test_is_the_distance_of_confidence_and_accuracy(confidence, right, error):
    found = Reliability()
    found.add(np.full((3, 4), confidence), np.full((3, 4), right))
    assert found.error() == pytest.approx(error)
    assert found.overconfidence() == pytest.approx(confidence - right)


def test_bins_are_scikit_learns(predictions):
    confidence, right = predictions
    found = Reliability()
    found.add(confidence, right)
    accuracy, mean = calibration_curve(right.ravel(), confidence.ravel(), n_bins=BINS)
    rows = np.array(found.rows())
    assert rows[:, 0] == pytest.approx(mean, abs=1e-6)
    assert rows[:, 1] == pytest.approx(accuracy, abs=1e-6)
    assert rows[:, 2].sum() == pytest.approx(1)
    assert found.error() == pytest.approx(float(rows[:, 2] @ np.abs(mean - accuracy)), abs=1e-6)


def test_does_not_depend_on_parts_and_survives_a_file(predictions):
    confidence, right = predictions
    whole, parts = Reliability(), Reliability()
    whole.add(confidence, right)
    for one, other in zip(confidence, right, strict=True):
        parts.add(one, other)
    assert parts.error() == pytest.approx(whole.error(), abs=1e-12)
    assert Reliability.of(whole.to_dict()).rows() == whole.rows()


def test_nothing_has_no_error():
    assert Reliability().error() == 0
    assert Reliability().rows() == []


@pytest.mark.parametrize(
    ('confidence', 'right', 'said'), [([0.5], [True, False], 'differ in shape'), ([1.5], [True], 'lie in 0..1')]
)
def test_says_what_is_wrong(confidence, right, said):
    with pytest.raises(ValueError, match=said):
        Reliability().add(np.array(confidence), np.array(right))
