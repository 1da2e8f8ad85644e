"""What all programs share: one line, exit codes, ``--debug``."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from denseclip.apis.errors import UserError
from denseclip.cli.programs import FormerName, program

ROOT = Path(__file__).parents[2]


@program
def tool(argv: list[str]) -> int | None:
    """Does what its first argument says."""
    if argv[0] == 'refuse':
        raise UserError('no such\nthing')
    if argv[0] == 'interrupt':
        raise KeyboardInterrupt
    return {'no': 1, 'fine': None}[argv[0]]


@pytest.mark.parametrize(('word', 'code'), [('fine', 0), ('no', 1)])
def test_answers_are_exit_codes(word: str, code: int, capsys) -> None:
    assert tool([word]) == code
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('word', 'code', 'line'),
    [
        ('refuse', 2, 'test_programs.py: error: no such thing\n'),
        ('interrupt', 130, 'test_programs.py: interrupted\n'),
        ('unheard', 2, 'test_programs.py: error: unexpected KeyError: unheard (--debug shows where)\n'),
    ],
)
def test_failures_are_one_line(word: str, code: int, line: str, capsys) -> None:
    with pytest.raises(SystemExit, match=line.strip().replace('(', r'\(').replace(')', r'\)')) as done:
        tool([word])
    assert done.value.code == code
    assert capsys.readouterr().err == line


def test_debug_lets_errors_through_but_not_an_interruption() -> None:
    with pytest.raises(UserError):
        tool(['refuse', '--debug'])
    with pytest.raises(SystemExit):
        tool(['interrupt', '--debug'])


@pytest.mark.parametrize(
    'names', [{'WORLD_SIZE': '4', 'RANK': '3'}, {'SLURM_NTASKS': '4', 'SLURM_PROCID': '3'}], ids=['torchrun', 'slurm']
)
def test_each_of_several_processes_names_itself(names: dict[str, str], monkeypatch, capsys) -> None:
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        tool(['refuse'])
    assert capsys.readouterr().err == 'test_programs.py: error: process 3 of 4: no such thing\n'


SCRIPT = """
import sys
from denseclip.cli.programs import FormerName, program

@program
def main(argv):
    for number in range(100_000):
        print(number)

if __name__ == '__main__':
    sys.exit(main())
"""


@pytest.mark.slow
def test_a_reader_that_stops_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / 'count.py').write_text(SCRIPT)
    command = f'"{sys.executable}" -W ignore count.py | head -1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ['bash', '-c', command],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ['0', '2'] and 'Traceback' not in done.stderr and 'Exception' not in done.stderr


def test_former_names_work_and_say_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser('tool')
    parser.add_argument('--new-name', nargs='+')
    parser.add_argument('--old', nargs='+', action=FormerName, new='--new-name')
    assert parser.parse_args(['--new-name', 'a']).new_name == ['a'] and capsys.readouterr().err == ''
    assert parser.parse_args(['--old', 'a', 'b']).new_name == ['a', 'b']
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('tool: warning: --old is called --new-name now')
    assert parser.parse_args([]).new_name is None and '--old' not in parser.format_help()
