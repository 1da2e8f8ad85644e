"""Brushes of Label Studio: what is encoded is decoded, by the grammar of rle-pack."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.structures.brush import BrushError, decode_brush, encode_brush


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 1))
def test_masks_come_back(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    code = encode_brush(mask)
    assert all(isinstance(value, int) and 0 <= value < 256 for value in code)
    np.testing.assert_array_equal(decode_brush(code, mask.shape), mask)


def test_long_runs_are_cut():
    mask = np.zeros((300, 300), bool)
    mask[10:290, 10:290] = True
    mask[100:200, :] = True
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), (300, 300)), mask)


def bits(*fields):
    text = ''.join(f'{value:0{width}b}' for value, width in fields)
    text += '0' * (-len(text) % 8)
    return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]


def test_values_one_by_one_and_other_sizes_of_lengths_are_read():
    """1 x 2 pixels: RGBA of the first one by one, alpha 0; those of the second as a run of four."""
    head = [(8, 32), (7, 5), (2, 4), (5, 4), (7, 4), (15, 4)]
    single = [(0, 1), (1, 2), (3, 6), (9, 8), (8, 8), (7, 8), (0, 8)]
    run = [(1, 1), (0, 2), (3, 3), (255, 8)]
    np.testing.assert_array_equal(decode_brush(bits(*head, *single, *run), (1, 2)), [[False, True]])


@pytest.mark.parametrize(
    ('code', 'size', 'said'),
    [
        (encode_brush(np.ones((4, 4), bool)), (4, 5), 'speak of 64 values'),
        (encode_brush(np.ones((4, 4), bool))[:-2], (4, 4), 'break off'),
        ([1, 2, 300], (1, 1), 'no bytes'),
        ([], (1, 1), 'speak of 0'),
        ([0], (2**20, 2**20), 'pixels'),
    ],
)
def test_what_is_no_brush_is_told(code, size, said):
    with pytest.raises(BrushError, match=said):
        decode_brush(code, size)
