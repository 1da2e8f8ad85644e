"""The command line of tools/benchmark_ovseg.py."""

import importlib.util
import sys
from pathlib import Path

from tiny_two_stage import tiny_clip

from studies.benchmark import regions

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark_ovseg.py'


def test_all_versions_are_timed_and_agree(monkeypatch, capsys, tmp_path):
    spec = importlib.util.spec_from_file_location('benchmark_ovseg', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(regions, 'OpenCLIPParts', lambda model: tiny_clip())
    small = ['--masks', '6', '--encoded', '3', '--classes', '7', '--size', '40', '50', '--repeats', '1', '--no-memory']
    report = tmp_path / 'report.md'
    monkeypatch.setattr(sys, 'argv', ['benchmark_ovseg.py', *small, '--out', str(report)])
    assert tool.main() == 0
    printed = capsys.readouterr().out
    for part in ('Cutting out 6 masks', 'Embedding 3 masks', 'Merging 6 masks into K=7', 'one by one, as published'):
        assert part in printed
    assert report.read_text() in printed


def test_a_difference_is_noticed(monkeypatch):
    monkeypatch.setattr(regions, 'OpenCLIPParts', lambda model: tiny_clip())
    options = regions.RegionOptions(masks=4, encoded=2, classes=5, size=(40, 50))
    classifier = regions.build_classifier(options)
    image, masks = regions.picture_and_masks(options)
    crops = classifier.crops(image, masks)
    monkeypatch.setattr(regions, 'crops_one_by_one', lambda *_, **__: (crops.pictures + 1e-3, crops.masks))
    assert not regions.benchmark_regions(options, repeats=1, memory=False).equal
