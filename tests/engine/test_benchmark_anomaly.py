"""The benchmark of anomaly measures: ours and the plain ones give the same, and a difference is told."""

import numpy as np
import pytest

from denseclip.engine.benchmark import AnomalyOptions, anomaly_measures, benchmark_anomaly

SMALL = AnomalyOptions(pictures=6, size=(40, 48))


def test_plain_and_fast_versions_agree():
    report = benchmark_anomaly(SMALL, against_plain=True, repeats=1)
    assert report.equal is True
    [table] = report.tables
    assert [row[0].split(':')[0] for row in table.rows].count('AUPRO') == 4
    assert all(row[1] > 0 and row[2] > 0 for row in table.rows)
    assert '6 maps of 40 x 48' in report.markdown()


def test_without_the_plain_versions_there_is_no_ratio():
    report = benchmark_anomaly(SMALL, repeats=1)
    assert report.equal is None and len(report.tables[0].rows) == 5
    assert {row[2] for row in report.tables[0].rows} == {None}


def test_a_difference_is_told(monkeypatch):
    monkeypatch.setattr(anomaly_measures, 'auroc', lambda curve: 0.25)
    assert benchmark_anomaly(SMALL, against_plain=True, repeats=1).equal is False


def test_maps_are_the_same_every_time_and_hold_normal_pictures():
    first, again = anomaly_measures.draw_maps(SMALL), anomaly_measures.draw_maps(SMALL)
    np.testing.assert_array_equal(first[0], again[0])
    assert [bool(mask.any()) for mask in first[1]] == [False, True, True] * 2
    assert first[0].mean() == pytest.approx(0.5, abs=0.01)
