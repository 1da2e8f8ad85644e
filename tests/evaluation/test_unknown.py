"""Scores of unknown pixels against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from denseclip.evaluation.unknown import UnknownPixels, strangeness


def test_auroc_is_scikit_learns_however_pixels_come():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=3000).round(2).astype(np.float32)
    unknown = rng.random(3000) < 0.2 + 0.2 * (scores > 0)
    found = UnknownPixels()
    for part in np.array_split(np.arange(3000), 7):
        found.add(scores[part], unknown[part])
    found.add(scores[:0], unknown[:0])
    assert found.auroc() == pytest.approx(roc_auc_score(unknown, scores), abs=1e-9)


def test_one_kind_alone_has_no_auroc():
    found = UnknownPixels()
    assert np.isnan(found.auroc())
    found.add(np.ones(3, np.float32), np.zeros(3, bool))
    assert np.isnan(found.auroc())


def test_sure_pixels_are_less_strange_than_unsure_ones():
    found = strangeness(np.array([[0.98, 0.25, 0.0], [0.01, 0.25, 0.0], [0.01, 0.25, 0.0], [0, 0.25, 0.0]], np.float32))
    assert found['max'] == pytest.approx([0.02, 0.75, 1.0])
    assert found['entropy'][0] < 0.1
    assert found['entropy'][1:] == pytest.approx([1.0, 1.0])
