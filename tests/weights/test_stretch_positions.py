"""Positions for longer texts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.weights import stretch_positions


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 5), st.integers(1, 5))
def test_a_straight_line_stays_straight(stretched, keep, ratio):
    slope = torch.tensor([[2.0, -3.0]], dtype=torch.float64)
    line = torch.arange(keep + stretched, dtype=torch.float64)[:, None] * slope
    long = stretch_positions(line, keep, ratio)
    assert long.shape[0] == keep + ratio * stretched
    assert torch.equal(long[:keep], line[:keep]) and torch.allclose(long[keep::ratio], line[keep:])
    assert torch.allclose(long[keep:].diff(dim=0) * ratio, slope)


@pytest.mark.parametrize(('keep', 'ratio'), [(4, 4), (-1, 4), (0, 0)])
def test_nothing_to_stretch(keep, ratio):
    with pytest.raises(ValueError, match='keep at most 3'):
        stretch_positions(torch.zeros(5, 2), keep, ratio)
