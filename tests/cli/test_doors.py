"""Commands are the same through both doors, answer at once, and know their defaults without loading anything."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from denseclip.cli import COMMANDS, benchmark, stress, train
from denseclip.cli.doors import run_alone
from denseclip.cli.main import main

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS, LIMIT_MODULES = 0.3, 200  # what opening the help may cost
ASK = """
import contextlib, io, sys, time
from denseclip.cli.main import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])
print(time.process_time(), len(sys.modules), 'torch' in sys.modules or 'mmengine' in sys.modules)
"""


@pytest.mark.parametrize('words', [['--help'], *([name, '--help'] for name in COMMANDS)], ids=lambda w: w[0])
def test_help_is_light(words: list[str]) -> None:
    command = [sys.executable, '-c', ASK, *words]
    for _ in range(2):  # the first may compile
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={'PYTHONPATH': str(ROOT)})
        seconds, modules, heavy = done.stdout.split()
        if float(seconds) <= LIMIT_SECONDS:
            break
    assert heavy == 'False' and int(modules) <= LIMIT_MODULES and float(seconds) <= LIMIT_SECONDS


@pytest.mark.parametrize(('program', 'lean'), [('/somewhere/tools/train.py', True), ('/bin/pytest', False)])
def test_a_script_starts_lean_in_a_process_of_its_own(
    program: str, lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    monkeypatch.setattr('denseclip.compat.lean.start_lean', lambda: started.append(True))
    monkeypatch.setattr(sys.modules['__main__'], '__file__', program, raising=False)
    with pytest.raises(SystemExit):
        run_alone(train, ['--nonsense'], 'train.py')
    with pytest.raises(ValueError, match=r'gone\.py'):
        run_alone(train, ['gone.py'], 'train.py')
    assert started == [True] * lean


def test_benchmark_has_the_defaults_of_its_options() -> None:
    from denseclip.engine import benchmark as suite

    kinds = {
        'model': suite.ModelOptions,
        'text': suite.TextOptions,
        'labelmap': suite.LabelMapOptions,
        'anomaly': suite.AnomalyOptions,
        'vocabulary': suite.VocabularyOptions,
    }
    parser = argparse.ArgumentParser()
    benchmark.add_options(parser)
    for part, kind in kinds.items():
        args = vars(parser.parse_args([part, *(['c'] if part in ('model', 'vocabulary') else [])]))
        for field in dataclasses.fields(kind):
            if field.name in args and field.name != 'config':
                assert args[field.name] == field.default, (part, field.name)


@pytest.mark.parametrize('words', [['anomaly', '--device', 'cpu'], ['vocabulary', 'c', '--against', 'baseline']])
def test_parts_of_the_benchmark_have_no_options_that_they_do_not_use(words, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['benchmark', *words])
    assert f'unrecognized arguments: {words[-2]}' in capsys.readouterr().err


def test_stress_takes_weights_by_their_former_name(capsys: pytest.CaptureFixture) -> None:
    parser = argparse.ArgumentParser()
    stress.add_options(parser)
    assert parser.parse_args(['c', '--out', 'o', '--checkpoint', 'w.pt']).weights == 'w.pt'
    assert '--checkpoint is called --weights now' in capsys.readouterr().err


def test_a_config_is_named_as_it_comes_with_the_package(capsys: pytest.CaptureFixture) -> None:
    name = 'miniworld/clip_vit-xs8_miniworld-64x64'
    assert main(['config', '--list', 'clip_vit-xs8']) == 0
    assert name in capsys.readouterr().out.split()
    assert main(['config', '--list']) == 0 and name in capsys.readouterr().out.split()
    assert main(['config', name, '--cfg-options', 'train_cfg.max_iters=7']) == 0
    text = capsys.readouterr().out
    assert 'max_iters=7' in text and 'default_hooks' in text and '_base_' not in text.split('\n', 1)[1]
    assert main(['config', 'miniworld/clip_vit-xs8_minworld-64x64']) == 2
    assert f'did you mean {name}' in capsys.readouterr().err


def test_only_the_command_line_reads_arguments() -> None:
    """The product is used from Python as well: it knows no parser and no command, not even inside a function."""
    package = ROOT / 'denseclip'
    for path in package.rglob('*.py'):
        if path.parent == package / 'cli' or path == package / '__main__.py':
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not [m for m in modules if m == 'argparse' or m.startswith('denseclip.cli.')], path
