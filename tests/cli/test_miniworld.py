"""``denseclip miniworld``: files, numbers, errors in one line."""

import pytest

from denseclip.cli import miniworld
from denseclip.cli.main import main
from denseclip.datasets.miniworld import LAYOUTS
from denseclip.datasets.miniworld.layouts.semantic import ADE20K


def run(capsys, *arguments):
    code = main(['miniworld', *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_writes_what_is_asked_for(tmp_path, capsys):
    out = tmp_path / 'world'
    options = ('--layout', 'ade20k', '--count', 3, '--val-count', 2, '--size', '40x64', '--seed', 5)
    code, text, errors = run(capsys, out, *options)
    assert (code, errors) == (0, '') and text.startswith('5 pictures in ')
    assert len(list((out / 'images' / 'training').iterdir())) == 3
    assert len(list((out / 'annotations' / 'validation').iterdir())) == 2
    assert run(capsys, out, *options) == (0, f'{out} is complete already\n', '')


def test_a_run_that_was_stopped_goes_on(tmp_path, capsys, monkeypatch):
    write, calls = ADE20K.write, []

    def stop_at_third(self, job):
        calls.append(job)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(self, job)

    monkeypatch.setattr(ADE20K, 'write', stop_at_third)
    options = (tmp_path / 'w', '--layout', 'ade20k', '--count', 4, '--size', '32')
    code, _, errors = run(capsys, *options)
    assert code == 130 and 'goes on from here' in errors
    monkeypatch.setattr(ADE20K, 'write', write)
    assert run(capsys, *options)[0] == 0
    assert len(list((tmp_path / 'w' / 'images').rglob('*.jpg'))) == 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--size', 'big'), "--size 'big' is no size"),
        (('--size', '8x8'), 'not within 16..4096'),
        (('--count', '-4'), 'nothing to write'),
        (('--seed', '-1'), 'is negative'),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, options, message):
    code, _, errors = run(capsys, tmp_path / 'w', '--layout', 'voc', *options)
    assert code == 2 and message in errors and len(errors.strip().splitlines()) == 1
    assert not (tmp_path / 'w').exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / 'file').write_text('x')
    code, _, errors = run(capsys, tmp_path / 'file' / 'sub', '--layout', 'voc', '--count', 1)
    assert code == 2 and str(tmp_path / 'file') in errors and len(errors.strip().splitlines()) == 1


def test_the_layouts_of_the_help_are_those_of_the_data_sets():
    assert set(miniworld.LAYOUT_NAMES) == set(LAYOUTS)


def test_sizes():
    assert miniworld.parse_size('64') == (64, 64)
    assert miniworld.parse_size('64X128') == (64, 128)
    assert miniworld.parse_size(None) is None
