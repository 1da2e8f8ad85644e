"""Places of callers are those that PyTorch names itself."""

import inspect
import sys

import pytest
import torch._library.utils as utils

from denseclip.compat.lean.sources import get_source, install


def named(stacklevel):
    info = inspect.getframeinfo(sys._getframe(stacklevel))
    return f'{info.filename}:{info.lineno}'


@pytest.mark.parametrize('level', [1, 2])
def test_they_are_what_inspection_finds(level):
    assert get_source(level) == named(level)


def test_another_function_is_left_alone(monkeypatch):
    def other(depth):
        return depth

    monkeypatch.setattr(utils, 'get_source', other)
    install()
    assert utils.get_source is other
    monkeypatch.setattr(utils, 'get_source', named)
    install()
    assert utils.get_source is get_source
