"""The command line of tools/benchmark_anomaly_views.py."""

import importlib.util
import re
import sys
from pathlib import Path

from tiny_anomaly import tiny_clip

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark_anomaly_views.py'


def test_all_versions_are_timed_and_agree(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('benchmark_anomaly_views', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, 'load_clip', lambda name: tiny_clip())
    monkeypatch.setattr(sys, 'argv', ['benchmark_anomaly_views.py', '--repeats', '1'])
    assert tool.main() == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r'\d+\.\d ms per picture', printed)) == 3
    for other in ('one by one', "authors' order"):
        assert re.search(rf'batched is \d+\.\d\dx as fast as {other}; scores differ by \d\.\de[+-]\d\d', printed)
