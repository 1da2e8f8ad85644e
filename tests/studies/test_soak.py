"""The slope of a soak, and its interval."""

from __future__ import annotations

import os

import numpy as np
import pytest

from studies.soak.__main__ import Use, report, slope, use_of


@pytest.mark.parametrize('rate', [0.0, 0.35])
def test_the_slope_is_within_its_interval(rate: float) -> None:
    """Noise with steps, as allocators make them, and a start that warms up; a leak of 0.35 KB a call is seen."""
    rng = np.random.default_rng(0)
    calls = np.arange(20, 5001, 20)
    memory = 400_000 + rate * calls - 90_000 * np.exp(-calls / 150) + rng.normal(0, 30, len(calls))
    found, error = slope([Use(int(n), float(m), 9, 4) for n, m in zip(calls, memory, strict=True)])
    assert abs(found - rate) < 2 * error + 0.01 and error < 0.05
    assert (found - error > 0.1) == bool(rate)


def test_files_and_threads_are_counted(tmp_path) -> None:
    before = use_of(os.getpid(), 1)
    with (tmp_path / 'a').open('w'), (tmp_path / 'b').open('w'):
        after = use_of(os.getpid(), 2)
    assert after.files == before.files + 2 and after.threads >= 1 and after.memory > 10_000


def test_a_report_holds_samples_and_a_picture(tmp_path) -> None:
    line = report('x', [Use(n, 1e5 + n % 7, 9, 4) for n in range(1, 101)], tmp_path)
    assert line.startswith('| x | 100 | 98, 98 |') and line.endswith('| 9, 9 | 4, 4 |')
    assert len((tmp_path / 'x.csv').read_text().splitlines()) == 101
    assert (tmp_path / 'x.png').stat().st_size < 60_000
