"""The command line of tools/benchmark.py."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SMALL = ['labelmap', '--classes', '6', '--size', '24', '32', '--repeats', '1', '--warmup', '0', '--no-memory']


def test_report_is_printed_and_written(tool, tmp_path, capsys):
    out = tmp_path / 'report.json'
    assert tool.main([*SMALL, '--against', 'baseline', '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert 'Results of both versions are equal.' in printed
    assert written['equal'] is True
    assert written['command'].startswith('python tools/benchmark.py labelmap --classes 6')
    assert written['command'] in printed


def test_an_earlier_report_is_kept_without_force(tool, tmp_path):
    out = tmp_path / 'report.md'
    out.write_text('mine')
    with pytest.raises(SystemExit, match='exists: choose another name, or pass --force'):
        tool.main([*SMALL, '--out', str(out)])
    assert out.read_text() == 'mine'
    assert tool.main([*SMALL, '--out', str(out), '--force']) == 0
    assert out.read_text().startswith('## Label map')


def test_a_difference_is_the_exit_code(tool, monkeypatch):
    monkeypatch.setattr(
        'denseclip.engine.benchmark.label_map.full_label_map', lambda logits, path: logits.argmax(0) * 0
    )
    assert tool.main([*SMALL, '--against', 'baseline']) == 1


@pytest.mark.parametrize('argv', [['missing.py'], ['text', '--model', 'no-such-model']])
def test_bad_names_give_one_line(tool, argv):
    with pytest.raises(SystemExit, match=r'^benchmark.py: .*(does not exist|no architecture)'):
        tool.main(argv)
