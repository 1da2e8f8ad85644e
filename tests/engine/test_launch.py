"""What tests and trainings make of their options before the runner starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tiny_fcclip import tiny_fcclip
from torch import nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.config import OptionError
from denseclip.engine.launch import _set_vocabulary

META = {'classes': ('sky', 'palm', 'cup'), 'thing_classes': ('palm', 'cup')}


def a_runner(model: nn.Module, **metainfo: Any) -> Any:
    data = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    return SimpleNamespace(model=model, test_dataloader=data, logger=SimpleNamespace(info=lambda text: None))


def test_other_names_keep_the_things_of_the_test_set() -> None:
    """Positions are those of the labels, whatever a list calls the classes and a guess from words would say."""
    model = tiny_fcclip(things='all')
    words = Vocabulary.of('heavens; grass,tree; grass,mug')
    _set_vocabulary(a_runner(model, **META), words)
    assert model.is_thing.tolist() == [False, True, True]
    _set_vocabulary(a_runner(model, **{**META, 'thing_classes': ()}), Vocabulary.of('car; mug; bird'))
    assert model.is_thing.tolist() == [False] * 3


@pytest.mark.parametrize('metainfo', [{}, {'classes': META['classes']}, {**META, 'classes': ('sky', 'palm')}])
def test_without_things_of_the_data_words_decide(metainfo: dict[str, Any]) -> None:
    model = tiny_fcclip()
    _set_vocabulary(a_runner(model, **metainfo), Vocabulary.of('sky; car; cup'))
    assert model.is_thing.tolist() == [False, True, True]


def test_words_need_a_model_that_takes_them() -> None:
    with pytest.raises(OptionError, match='Linear has fixed classes'):
        _set_vocabulary(a_runner(nn.Linear(1, 1)), Vocabulary.of('a; b'))
