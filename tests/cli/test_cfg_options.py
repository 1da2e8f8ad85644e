"""``--cfg-options``: what MMEngine reads, with blanks."""

import argparse
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mmengine.config import DictAction

from denseclip.cli.cfg_options import add_cfg_options, read_value


def parse(*items: str, **more) -> dict:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, '--cfg-options', **more)
    return parser.parse_args(['--cfg-options', *items]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('metal nut', 'metal nut'),
        ('"metal nut"', 'metal nut'),
        (' metal nut ', 'metal nut'),
        ('[metal nut, pill,  wood]', ['metal nut', 'pill', 'wood']),
        ('/data/my set (1)/a', '/data/my set (1)/a'),
        ('[]', []),
        ('()', ()),
        ('(1,)', (1,)),
        ('[[1, 2], (3, a b)]', [[1, 2], (3, 'a b')]),
        ('[1,2],[3,4]', [[1, 2], [3, 4]]),
        ('', ''),
    ],
)
def test_values(text: str, value) -> None:
    assert read_value(text) == value


PLAIN = st.text(string.ascii_letters + string.digits + './:_-', min_size=1, max_size=8)
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda v: f'[{",".join(v)}]'))


@given(st.lists(NESTED, min_size=1, max_size=4).map(','.join))
def test_values_without_blanks_are_those_of_mmengine(text: str) -> None:
    # DictAction takes '[1],2,[3]' for one list in brackets.
    assume(not (text.startswith('[') and text.endswith(']')) or len(read_value(f'({text},)')) == 1)
    assert repr(read_value(text)) == repr(DictAction._parse_iterable(text))  # repr: NaN is not equal to itself


@given(st.lists(st.text(string.ascii_letters + '  äß', min_size=1), min_size=1, max_size=4))
def test_words_of_a_list_come_back(words: list[str]) -> None:
    words = [f'w{word.strip()}' for word in words]
    assert read_value(f'[{", ".join(words)}]') == words


def test_later_uses_win_and_earlier_ones_stay() -> None:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, '--cfg-options', default={})
    read = parser.parse_args(['--cfg-options', 'a.b=1', 'c=x=y', '--cfg-options', 'a.b=2']).cfg_options
    assert read == {'a.b': 2, 'c': 'x=y'}
    assert parser.parse_args([]).cfg_options == {}


@pytest.mark.parametrize('item', ['banana', '=3', 'a =3', 'a=[1,(2]', 'a=[1,2'])
def test_what_is_no_option_is_said(item: str, capsys) -> None:
    with pytest.raises(SystemExit) as done:
        parse(item)
    assert done.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].partition('error: argument --cfg-options: ')[2]
