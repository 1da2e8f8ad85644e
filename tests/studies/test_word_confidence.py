"""The study of word confidence: no word is fitted and tested, lists are spread, the fit is monotone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip('sklearn')

from studies.word_confidence.draws import KINDS, Words, camvid_words, draw, word_list
from studies.word_confidence.measure import Found, confidences, fit, quality
from studies.word_confidence.nouns import farthest_first


def test_fit_and_test_have_no_word_in_common():
    for kind in ('near', 'far'):
        assert not set(word_list(f'{kind}_fit')) & set(word_list(f'{kind}_test'))
    unseen = {names[1] for names in camvid_words('test').names}
    assert not unseen & {name for names in camvid_words('fit').names for name in names}


def test_draws_hold_what_was_asked_for():
    words = Words([['a', 'aa'], ['b'], ['c']], ['near'], ['far', 'farther', 'farthest'])
    for seed in range(20):
        names, kinds = draw(np.random.default_rng(seed), words, np.array([0.5, 0.5, 0.0]), 5, 3)
        assert kinds.count('true') == 2 and len(kinds) == 5 and set(kinds) <= set(KINDS)
        assert {n[0] for n, k in zip(names, kinds, strict=True) if k == 'true'} == {'a', 'b'}
        assert names.count('c') == kinds.count('class') == 1


def test_the_farthest_comes_next():
    degrees = torch.tensor([0.0, 10.0, 20.0, 90.0, 60.0]).deg2rad()
    rows = torch.stack([degrees.cos(), degrees.sin()], dim=1)
    assert farthest_first(rows) == [2, 3, 4, 0, 1]


def test_the_fit_finds_what_tells_and_gives_nothing_to_what_misleads():
    rng = np.random.default_rng(0)
    true = rng.random(400) < 0.5
    best = true * 2.0 + rng.normal(size=400)
    evidence = np.stack([best, 0.2 * rng.normal(size=400) - 0.2 * true], axis=1).astype(np.float32)
    found = Found(list(evidence), best.tolist(), ['true' if t else 'far' for t in true], [0] * 400, ['w'] * 400)
    calibration = fit(found, {})
    assert calibration.weights[0] > 0 and calibration.weights[1] == 0
    measured = quality(found, confidences(found, calibration), 0.5)
    assert measured['pooled'] == pytest.approx(quality(found, confidences(found, None), 0.5)['pooled'])
    assert measured['pooled'] > 0.85 and measured['brier'] < 0.17
