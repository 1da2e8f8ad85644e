"""Configs as text: what goes in comes back, and nothing in it is read as anything but data."""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from denseclip.compat.config_text import Name, config_text, literal

MARKS = [
    '{{ fileDirname }}',
    '{{fileBasenameNoExtension}}',
    '{{ $HOME:none }}',
    "{{'$PATH:'}}",
    '{{ _base_.model }}',
    '{{{',
    '}}',
    "'",
    '"""',
    '\\',
    '\\x7b',
    '#',
    '\n',
    '\r',
    '\u2028',
    '\x00',
    '\x1a',
    '\udcff',
    '\N{FEMININE ORDINAL INDICATOR}',
    '\N{RIGHT-TO-LEFT OVERRIDE}',
    '# coding: utf-7',
    'None',
    'class',
    '_base_',
    '::',
]
any_text = st.text(max_size=8)
texts = st.lists(st.one_of(st.sampled_from(MARKS), any_text), max_size=4).map(''.join)
"""Any characters, lone surrogates of undecodable file names too, mixed with what MMEngine and Python would act on."""
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), texts, st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
        st.sets(texts, max_size=3),
    ),
    max_leaves=12,
)


def run(text: str) -> Any:
    """The value that Python reads."""
    return eval(text, {})  # noqa: S307, what this file is about


def same(found: Any, value: Any) -> bool:
    """Equal, in types and in the order of keys too; ``True == 1`` is not enough."""
    if isinstance(value, dict):
        return same(list(found), list(value)) and same(list(found.values()), list(value.values()))
    if isinstance(value, list | tuple):
        return type(found) is type(value) and len(found) == len(value) and all(map(same, found, value))
    return type(found) is type(value) and found == value


def is_data(text: str) -> bool:
    """No mark, no line break within a value, nothing but printable ASCII."""
    return not set(text) & set('{}') and all(line.isascii() and line.isprintable() for line in text.split('\n'))


@given(values)
@example(OrderedDict(zebra=1, ant=2))
@example({'ﬁ': 1, 'fi': 2, 'class': 3, '': 4})
@example({'a': {'b': {'c d': {'e f': {}}}}})
@example([math.inf, -math.inf, ((),), [[]], frozenset(), {1: 2, None: 3}])
def test_a_value_is_spelled_so_that_python_reads_the_same(value) -> None:
    text = literal(value)
    assert is_data(text)
    assert same(run(text), value)


keys = texts.filter(
    lambda text: not text.startswith('__') and text not in ('_base_', '_deprecation_', 'filename', 'text')
)


@settings(deadline=None)
@given(names=st.lists(texts, min_size=1, max_size=4), key=keys, value=values)
def test_a_config_file_gives_back_exactly_the_names(tmp_path_factory, names, key, value) -> None:
    path = tmp_path_factory.getbasetemp() / 'names.py'
    entries = {'metainfo': {'classes': tuple(names)}, 'pipeline': names, 'data': {'pipeline': Name('pipeline')}}
    text = config_text({**entries, key: {'vocabulary': value}}, header='made')
    assert is_data(text)
    path.write_text(text, encoding='utf-8')
    found = Config.fromfile(path)
    assert found.to_dict()[key] == {'vocabulary': value}
    if key not in entries:
        assert found.metainfo.classes == tuple(names) and found.data.pipeline == names


@settings(deadline=None)
@given(names=st.lists(texts, min_size=1, max_size=4, unique=True), value=values)
def test_a_dump_of_mmengine_gives_back_the_same_config(tmp_path_factory, names, value) -> None:
    path = tmp_path_factory.getbasetemp() / 'dumped.py'
    config = Config({'classes': names, 'vocabulary': dict.fromkeys(names, value)})
    config.dump(path)
    text = path.read_text(encoding='utf-8')
    assert is_data(text) and text == config.pretty_text == config.dump()
    found = Config.fromfile(path)
    assert found.to_dict() == config.to_dict()
    assert list(found.vocabulary) == names  # a mapping's order is the order of the classes


@settings(deadline=None, max_examples=40)
@given(names=st.lists(texts.map(lambda text: text.replace('\udcff', '')), min_size=1, max_size=4, unique=True))
@pytest.mark.parametrize('suffix', ['.json', '.yml'])
def test_dumps_of_other_formats(tmp_path_factory, suffix: str, names) -> None:
    path = tmp_path_factory.getbasetemp() / f'dumped{suffix}'
    config = Config({'classes': names, 'vocabulary': {name: [] for name in names}, 'empty': {'a': {}}})
    config.dump(path)
    assert '{{' not in path.read_text(encoding='utf-8')
    found = Config.fromfile(path)
    assert found.to_dict() == config.to_dict() and list(found.vocabulary) == names
    assert Config.fromfile(path).dump() == path.read_text()


def test_values_of_other_types_become_text_and_never_source(tmp_path: Path) -> None:
    odd = type('Odd', (), {'__str__': lambda self: '__import__("os")', '__repr__': lambda self: 'x'})()
    config = Config(dict(lr=np.float32(0.5), n=np.int64(3), odd=odd, path=Path('a/{{ fileDirname }}')))
    config.dump(tmp_path / 'a.py')
    found = Config.fromfile(tmp_path / 'a.py')
    assert found.to_dict() == dict(lr=0.5, n=3, odd='__import__("os")', path='a/{{ fileDirname }}')


@pytest.mark.parametrize('text', ['a b', 'a)', '', 'class', 'ﬁ', 'a\nb'])
def test_only_names_are_written_without_quotes(text: str) -> None:
    with pytest.raises(ValueError, match='is no name'):
        Name(text)


def test_long_values_are_laid_out_over_lines() -> None:
    value = dict(type='FPN', sizes=[(1, 2), (3, 4)], nested=dict(type='A' * 50, other='B' * 50))
    text = literal(value)
    assert run(text) == value
    assert text.splitlines()[1:3] == ["    type='FPN',", '    sizes=[(1, 2), (3, 4)],']
    assert max(map(len, text.splitlines())) < 100
