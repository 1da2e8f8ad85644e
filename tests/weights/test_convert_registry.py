"""The table of converters."""

import pytest
import torch

from denseclip.weights.convert import CONVERTERS, Converter, convert, register


def test_converters_describe_themselves():
    assert {'openai_clip', 'efficientnet_lite'} <= set(CONVERTERS)
    assert all(c.description for c in CONVERTERS.values())


def test_both_directions(monkeypatch):
    monkeypatch.delitem(CONVERTERS, 'twice', raising=False)
    monkeypatch.setitem(
        CONVERTERS,
        'twice',
        Converter(
            lambda s, by=2: {k: v * by for k, v in s.items()}, lambda s: {k: v / 2 for k, v in s.items()}, 'test'
        ),
    )
    assert convert({'a': torch.ones(1)}, 'twice', by=3)['a'].item() == 3
    assert convert({'a': torch.ones(1)}, 'twice', inverse=True)['a'].item() == 0.5


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'openai_clip'"):
        convert({}, 'openai-clip')


def test_no_way_back_and_no_double_names():
    with pytest.raises(ValueError, match='one direction only'):
        convert({}, 'openai_clip', inverse=True)
    with pytest.raises(KeyError, match='registered already'):
        register('openai_clip', CONVERTERS['openai_clip'])
