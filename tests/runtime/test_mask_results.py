"""Instances on numpy: the least score and size choose before masks are made, and choose what they would later."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from denseclip.runtime.mask_results import Queries, instances

THINGS = (True, False, True)
RULE: Any = SimpleNamespace(topk=30)


def drawn(out: tuple[int, int], count: int = 20) -> Queries:
    """Masks and classes of noise."""
    rng = np.random.default_rng(3)
    masks = rng.normal(size=(count, 8, 8)).astype(np.float32) * 4
    classes = rng.dirichlet((0.3,) * 4, count).astype(np.float32)
    return Queries(masks, classes[:, :3], classes[:, 3], (32, 32), (0, 32, 0, 32), out)


@pytest.mark.parametrize(('least', 'share'), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.5), (0.3, 0.48), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize('size', [(37, 41), (30, 20)])
def test_what_is_left_out_early_is_what_would_be_left_out_late(least, share, size):
    queries = drawn((37, 41))
    every = instances(queries, RULE, THINGS, size)
    assert len(every.scores) > 5 and set(every.labels.tolist()) == {0, 2}
    assert (np.diff(every.scores) <= 0).all()
    found = instances(queries, RULE, THINGS, size, least, share)
    kept = (every.scores >= least) & (every.masks.mean(axis=(1, 2)) >= share)
    np.testing.assert_array_equal(found.labels, every.labels[kept])
    np.testing.assert_array_equal(found.masks, every.masks[kept])
    np.testing.assert_array_equal(found.boxes, every.boxes[kept])
    np.testing.assert_allclose(found.scores, every.scores[kept], rtol=1e-6)
    assert found.masks.shape[1:] == size


def test_masks_of_unlikely_objects_are_not_made():
    size, count = (300, 400), 100
    queries = drawn(size, count)
    queries.classes[1:] = 0.01
    queries.classes[0] = 0.98, 0.01, 0.01
    peaks = []
    for least in (0.0, 0.3):
        tracemalloc.start()
        found = instances(queries, SimpleNamespace(topk=count), THINGS, size, least)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(found.scores) == 1 and found.scores[0] >= 0.3
    assert peaks[1] < count * size[0] * size[1] / 2 < peaks[0]
