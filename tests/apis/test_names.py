"""Names in words."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from denseclip.apis.names import readable


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
