"""Masks in COCO's run lengths come back as they went."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.structures.run_lengths import pixels, run_lengths, run_lengths_of_each, run_lengths_of_part


def test_run_lengths_come_back():
    masks = np.random.default_rng(3).random((4, 9, 13)) < 0.5
    for mask, coded in zip(masks, run_lengths_of_each(masks), strict=True):
        assert coded == run_lengths(mask) and json.loads(json.dumps(coded)) == coded
        assert coded['size'] == list(mask.shape)
        np.testing.assert_array_equal(pixels(coded), mask)
    assert run_lengths_of_each(masks[:0]) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_run_lengths_of_a_part_are_those_of_the_whole(seed):
    """Parts of all widths, at edges and away from them; full columns join their runs."""
    rng = np.random.default_rng(seed)
    size = tuple(int(side) for side in rng.integers(1, 12, 2))
    mask = np.zeros(size, bool)
    row, column = (int(rng.integers(0, side)) for side in size)
    height, width = (int(rng.integers(1, side - at + 1)) for side, at in zip(size, (row, column), strict=True))
    part = rng.random((height, width))
    part = part < rng.choice([0.2, 0.5, 0.9, 1.1])
    part[0, 0] = True
    mask[row : row + height, column : column + width] = part
    assert run_lengths_of_part(part, (row, column), size) == run_lengths(mask)


def test_a_missing_package_is_named_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    with pytest.raises(ImportError, match='need pycocotools.*: pip install [a-z-]+$'):
        run_lengths(np.ones((2, 3), bool))
