"""Whatever stands in words and names, a terminal shows it and does not obey it."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger, print_log
from PIL import Image
from termcolor import colored
from uvicorn.logging import AccessFormatter

from denseclip.cli.main import main
from denseclip.cli.output import ShownStream, plain, shown_output
from denseclip.cli.programs import program
from denseclip.cli.progress import track

HOSTILE = '\x1b]0\x07\x1b[2J\x9b1m\u202erm'
"""Would steer a terminal: its title, its picture, the direction of its text."""
SHOWN = '\\x1b]0\\x07\\x1b[2J\\x9b1m\\u202erm'


def quiet(text: str) -> bool:
    return not any(character in text for character in '\x1b\x07\x9b\u202e\r\x00')


@program
def tool(argv: list[str]) -> None:
    """Says its argument in every way that there is."""
    print(argv[0])
    print(argv[0], file=sys.stderr)
    logging.getLogger('denseclip.test').warning('logged %s', argv[0])
    raise ValueError(argv[0])


def test_all_that_a_program_says(capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    with pytest.raises(SystemExit):
        tool([f'{HOSTILE}\nline'])
    said = capsys.readouterr()
    assert quiet(said.out + said.err) and said.out == f'{SHOWN}\nline\n' and f'error: {SHOWN}' in said.err
    assert caplog.messages == [f'logged {SHOWN}\nline']
    assert before == (sys.stdout, sys.stderr, logging.getLogRecordFactory())


def test_levels_of_a_log_keep_their_colours_and_messages_are_shown(capsys: pytest.CaptureFixture) -> None:
    level = colored('WARNING', 'yellow', attrs=['underline'], force_color=True)  # as MMEngine's formatter has it
    with shown_output():
        logger = MMLogger('shown', logger_name='shown')
        logger.warning(f'\x1b[31mERRATIC\x1b[0m {HOSTILE}')
        print_log(HOSTILE, logger=logger, level=logging.ERROR)
        print(f'mmengine - {level} - {HOSTILE}')
    said = capsys.readouterr().out
    assert f'mmengine - {level} - {SHOWN}\n' in said and '\\x1b[31mERRATIC' in said
    assert said.count(SHOWN) == 3 and '\x07' not in said and '\u202e' not in said


def test_a_stream_is_itself_otherwise(capsys: pytest.CaptureFixture) -> None:
    stream = ShownStream(sys.stdout)
    assert stream.isatty() is sys.stdout.isatty() and plain(ShownStream(stream)) is sys.stdout  # type: ignore[arg-type]
    stream.writelines(['\r[>> ] 1/2', '\n', 'a\tb\rc'])
    assert capsys.readouterr().out == '\r[>> ] 1/2\na\tb\\rc'


def test_pictures_and_words_of_a_user(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    name = tmp_path / f'a{HOSTILE}\nb.png'
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(name)
    out = tmp_path / 'out'
    assert main(['segment', str(name), '--classes', f'sky{HOSTILE}; road = str\x1b[1meet', '--out', str(out)]) == 0
    said = capsys.readouterr()
    assert quiet(said.out + said.err) and f'a{SHOWN}\\nb.png  64 x 48' in said.out and f'sky{SHOWN}' in said.out
    (labels,) = out.glob('*_labels.png')
    with Image.open(labels) as picture:
        texts = [json.loads(text) for text in picture.text.values() if text.startswith('[')]
    assert any(f'sky{HOSTILE}' in str(found) or f'sky{HOSTILE}' in found for found in texts)  # data stay as they are


def test_folders_of_a_user(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['new-dataset', str(tmp_path / HOSTILE), '--out', str(tmp_path / 'a.py')]) == 2
    assert main(['segment', str(tmp_path / HOSTILE), '--out', str(tmp_path / 'a')]) == 2
    with pytest.raises(SystemExit):
        main(['segment', 'a', '--out', 'b', f'--{HOSTILE}'])
    said = capsys.readouterr().err
    assert quiet(said) and said.count(SHOWN) >= 3


def test_what_is_printed_beside_a_progress_bar(capsys: pytest.CaptureFixture) -> None:
    for _ in track([1, 2], 2, 'working'):
        print(HOSTILE)
    assert capsys.readouterr().out == f'{SHOWN}\n' * 2


def test_formatters_that_look_at_arguments_find_them(caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn's lines about requests are made of the arguments, not of the message."""
    access = AccessFormatter('%(request_line)s %(status_code)s', use_colors=False)
    with shown_output():
        for path in ('/segment', f'/{HOSTILE}'):
            logging.getLogger('access').warning('%s "%s %s HTTP/%s" %d', '::1', 'POST', path, '1.1', 200)
        logging.getLogger('access').warning('%s', ValueError(HOSTILE))
    lines = [access.format(record) for record in caplog.records[:2]]
    assert lines == ['POST /segment HTTP/1.1 200 OK', f'POST /{SHOWN} HTTP/1.1 200 OK']
    assert caplog.messages[2] == SHOWN
