"""The text of a config, formatted once."""

import pytest
from mmengine.config import Config
from mmengine.config import config as host

from denseclip.compat.config_text import _KEPT, _Remembering, keep_formatted


@pytest.fixture
def calls(monkeypatch):
    """Texts that yapf is really asked to format."""
    asked = []

    def counting(text, **style):
        asked.append(text)
        return original(text, **style)

    original = host.FormatCode._format_code
    monkeypatch.setattr(host, 'FormatCode', _Remembering(counting))
    return asked


def test_put_in_place_once():
    before = host.FormatCode
    assert isinstance(before, _Remembering)
    keep_formatted()
    assert host.FormatCode is before


def test_same_text_as_without_it(calls, monkeypatch):
    config = Config(dict(model=dict(type='FPN', sizes=[(1, 2), (3, 4)], **{'a-b': None}), lr=1e-4))
    texts = [config.pretty_text, config.pretty_text, Config(config.to_dict()).pretty_text]
    monkeypatch.setattr(host, 'FormatCode', host.FormatCode._format_code)
    assert texts == [config.pretty_text] * 3
    assert len(calls) == 2  # once by the memory, once by the line above


def test_a_changed_config_is_formatted_anew(calls):
    config = Config(dict(lr=1))
    assert config.pretty_text == 'lr = 1\n'
    config.lr = 2
    assert config.pretty_text == 'lr = 2\n'
    assert len(calls) == 2


def test_only_the_last_few_are_kept(calls):
    for lr in range(_KEPT + 1):
        assert Config(dict(lr=lr)).pretty_text == f'lr = {lr}\n'
    assert len(host.FormatCode._known) == _KEPT
    assert Config(dict(lr=_KEPT)).pretty_text == f'lr = {_KEPT}\n'
    assert len(calls) == _KEPT + 1
    assert Config(dict(lr=0)).pretty_text == 'lr = 0\n'
    assert len(calls) == _KEPT + 2


def test_what_cannot_be_formatted_still_fails_each_time(calls):
    for _ in range(2):
        with pytest.raises(SyntaxError, match='check the syntax'):
            _ = Config({'lr': type('Odd', (), {'__repr__': lambda self: '<odd>'})()}).pretty_text
    assert len(calls) == 2
