"""Calibrations are monotone, survive JSON, and belong to their evidence."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseclip.structures.word_scores import CHANCES, MEANINGS, Calibration, CalibrationError, digest

FEATURES, WORDS = ('best', 'rival'), digest(['ant', 'bee'])
MADE = Calibration((0.8, 1.1), -2.5, FEATURES, WORDS, {'data': 'a set'})
numbers = st.floats(-20, 20, width=32)


@given(st.tuples(numbers, numbers), st.tuples(st.floats(0, 5), st.floats(0, 5)), st.integers(0, 1), st.floats(0, 30))
def test_more_evidence_never_makes_less_sure(evidence, weights, which, more):
    calibration = Calibration(weights, 0.3, FEATURES, WORDS)
    low = torch.tensor([evidence])
    high = low.clone()
    high[0, which] += more
    sure, surer = calibration.confidence(low), calibration.confidence(high)
    assert 0 <= float(sure) <= float(surer) <= 1


def test_a_calibration_survives_json_and_any_order_of_features():
    data = json.loads(json.dumps(MADE.to_json()))
    assert Calibration.from_json(data, FEATURES, WORDS) == MADE
    turned = Calibration.from_json(data, FEATURES[::-1], WORDS)
    row = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(turned.confidence(row.flip(1)), MADE.confidence(row))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format': 2}, 'format is 2'),
        ({'weights': {'best': 1.0}}, 'other evidence'),
        ({'unrelated_words': 'else'}, 'other evidence'),
        ({'weights': {'best': -1.0, 'rival': 1.0}}, 'negative'),
        ({'bias': float('nan')}, 'finite'),
        ({'weights': None}, 'a calibration has'),
        ({'weights': {'best': None, 'rival': 1.0}}, 'a calibration has'),
    ],
)
def test_what_is_no_calibration_of_this_evidence_is_refused(change, message):
    with pytest.raises(CalibrationError, match=message):
        Calibration.from_json({**MADE.to_json(), **change}, FEATURES, WORDS)
    with pytest.raises(CalibrationError, match='a calibration has'):
        Calibration.from_json([], FEATURES, WORDS)


def test_lists_of_words_have_names_of_their_own():
    assert digest(['a', 'b']) != digest(['b', 'a']) != digest(['ab'])


def test_chance_is_known_of_scores_with_a_meaning():
    assert set(CHANCES) < set(MEANINGS)
