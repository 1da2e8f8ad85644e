"""One table of data sets that can be converted, with one grammar; weights beside them."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import pytest

from denseclip.cli import convert, convert_weights
from denseclip.cli.main import main
from denseclip.datasets import converters
from denseclip.weights.convert import CONVERTERS as WEIGHTS


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    convert.add_options(parser)
    kinds = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return kinds.choices[name]


@pytest.mark.parametrize('name', convert.CONVERTERS)
def test_every_row_fits_its_function(name: str) -> None:
    """Words and options of a row are arguments of its function; what the function requires, a row asks for."""
    row = convert.CONVERTERS[name]
    parameters = inspect.signature(getattr(converters, row.function)).parameters
    places = [key for key, value in parameters.items() if value.kind is not value.KEYWORD_ONLY]
    assert len(places) == len(row.words) + len(row.optional)
    required = [key for key in places if parameters[key].default is inspect.Parameter.empty]
    assert len(required) == len(row.words)
    offered = {action.dest for action in parser_of(name)._actions if action.option_strings} - {'help', 'debug'}
    wanted = {key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY} - {'split_file'}
    assert offered == wanted
    if row.splits:
        assert tuple(parameters['splits'].default) == row.default


def test_every_converter_has_a_row() -> None:
    functions = {row.function for row in convert.CONVERTERS.values()}
    made = {name for name in converters.__all__ if name.startswith('convert_') or name.endswith('_meta')}
    assert functions | {'anomaly_meta', 'write_anomaly_meta'} == made | {'anomaly_meta', 'write_anomaly_meta'}


def test_the_list_names_all_of_them(capsys: pytest.CaptureFixture) -> None:
    assert main(['convert', '--list']) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*convert.CONVERTERS, 'weights', 'clip']
    assert main(['convert']) == 2
    assert 'name what to convert' in capsys.readouterr().err


def test_weights_know_every_converter() -> None:
    assert list(convert_weights.CONVERTER_NAMES) == sorted(WEIGHTS)


SOURCES = {name: ['gone'] * len(row.words) for name, row in convert.CONVERTERS.items()}


@pytest.mark.parametrize('name', convert.CONVERTERS)
def test_a_missing_source_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    words = list(convert.CONVERTERS[name].words)
    given = ['out' if word == 'target' else '../gone' for word in words]
    assert main(['convert', name, *given]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith('denseclip: error: ') and 'gone' in said[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('name', 'word'), [('visa', 'split_csv'), ('magnetic_tile', 'MT_')])
def test_a_folder_of_something_else_is_one_line(
    name: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'other')
    assert main(['convert', name, '..', 'out']) == 2
    assert word in capsys.readouterr().err
    assert list((tmp_path / 'other').iterdir()) == []
