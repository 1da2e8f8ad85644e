"""Names in words."""

import os
import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from denseclip.files.names import readable, shown, shown_lines


def test_what_is_no_text_is_escaped() -> None:
    assert readable(Path('straße/caf\udce9.png')) == 'straße/caf\\xe9.png'
    assert readable(ValueError('no \udcff')) == 'no \\xff'


@given(st.binary(min_size=1))
def test_any_name_can_be_written_and_text_stays(name: bytes) -> None:
    text = readable(os.fsdecode(name))
    assert text.encode('utf-8').decode('utf-8', 'surrogateescape') == text
    try:
        assert text == name.decode('utf-8')
    except UnicodeDecodeError:
        assert '\\x' in text


@given(st.text())
def test_text_stays(name: str) -> None:
    assert readable(name) == name


@given(st.text())
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    assert not any(unicodedata.category(character) in ('Cc', 'Zl', 'Zp') for character in shown(text))
    assert shown(shown(text)) == shown(text)
    kept = [c for c in shown_lines(text) if unicodedata.category(c) == 'Cc' and c not in '\n\t']
    assert kept in ([], ['\r'])
    assert text.count('\n') == shown_lines(text).count('\n')


def test_half_characters_can_be_written() -> None:
    assert readable('a\ud800b').encode() == b'a\\ud800b'
    assert readable('a\udcffb') == 'a\\xffb'


def test_direction_marks_and_breaks_are_escapes() -> None:
    assert shown('a\u202eb\n\x1b[2J\x85\0') == 'a\\u202eb\\n\\x1b[2J\\x85\\x00'
    assert shown('Straße 犬 e\u0301') == 'Straße 犬 e\u0301'
