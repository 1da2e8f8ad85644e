"""Calibrated scores: the same order, 0..1, 0.5 at the limit, never flat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.apis.anomaly_calibration import EVEN, Calibration


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=30, unique=True),
    st.floats(-1, 1),
    st.floats(1e-3, 10),
)
def test_order_is_kept_and_no_two_scores_become_one(raw, limit, spread):
    values = np.sort(np.array(raw))
    values = values[np.append(True, np.diff(values) > 1e-2)]
    found = Calibration(limit, spread)(values)
    assert (np.diff(found) > 0).all() and (found > 0).all() and (found < 1).all()
    assert (Calibration(limit, spread)(limit), Calibration(limit, spread)(limit - spread)) == (0.5, pytest.approx(0.25))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.99))
def test_raw_is_the_inverse(score):
    calibration = Calibration(0.497, 0.002)
    assert float(calibration(calibration.raw(score))) == pytest.approx(score, abs=1e-9)


def test_usual_scores_lie_at_a_quarter_and_outliers_above_a_half():
    usual = np.random.default_rng(0).normal(0.497, 0.0005, 400)
    calibration = Calibration.of_scores([*usual, 0.505, 0.51])
    assert float(calibration(np.median(usual))) == pytest.approx(0.25, abs=0.01)
    assert float(calibration(0.505)) > 0.7 and (calibration(usual) >= 0.5).mean() < 0.01


def test_too_few_or_equal_scores_stay_usable():
    assert float(Calibration.of_scores([0.7])(EVEN)) == 0.5
    assert float(Calibration.of_scores([0.3] * 9)(0.3)) == pytest.approx(0.25)
    for score in (0.0, 1.0, -3.0, float('nan')):
        with pytest.raises(ValueError, match='between 0 and 1'):
            Calibration(0, 1).raw(score)
