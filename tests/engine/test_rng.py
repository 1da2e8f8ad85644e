"""Random states as data."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from denseclip.engine.rng import capture_rng_state, isolated_rng, restore_rng_state


def draw() -> tuple[float, float, float, float]:
    """One number of each generator, and a Gaussian, of which NumPy and Python keep a spare one."""
    return random.gauss(0, 1), random.random(), float(np.random.randn()), float(torch.rand(()))  # noqa: NPY002


def test_a_restored_state_repeats_its_draws_after_a_trip_through_a_file() -> None:
    random.gauss(0, 1)
    np.random.randn()  # noqa: NPY002  (leaves a spare Gaussian behind)
    file = io.BytesIO()
    torch.save(capture_rng_state(), file)
    first = [draw() for _ in range(5)]
    file.seek(0)
    restore_rng_state(torch.load(file, weights_only=True))
    assert [draw() for _ in range(5)] == first


@given(st.lists(st.integers(0, 2**63), min_size=1, max_size=4), st.lists(st.integers(0, 2**63), min_size=1, max_size=4))
@example([0], [0, 0])  # one seed to NumPy, as are the next ones
@example([1], [1, 0])
@example([2**32], [0, 1])
@settings(max_examples=30, deadline=None)
def test_isolated_draws_depend_on_the_seed_alone_and_leave_no_trace(seed: list[int], other: list[int]) -> None:
    before = capture_rng_state()
    with isolated_rng(tuple(seed)):
        first = draw()
    outside = draw()
    with isolated_rng(tuple(seed)):
        again = draw()
    with isolated_rng(tuple(other)):
        different = draw()
    restore_rng_state(before)
    assert draw() == outside
    assert again == first
    assert (different == first) == (seed == other)


def test_states_come_back_after_an_error() -> None:
    before = capture_rng_state()
    try:
        with isolated_rng((1,)):
            draw()
            raise RuntimeError
    except RuntimeError:
        pass
    after = draw()
    restore_rng_state(before)
    assert draw() == after


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r'non-negative integers, got \(3, -1\)'), isolated_rng((3, -1)):
        pass
