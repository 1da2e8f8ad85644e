"""Names of a package are imported on first use, listed, and told from those it has not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOMS = ('apis', 'clip', 'export', 'runtime', 'structures', 'visualization')


def test_names_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'late_words').mkdir()
    (tmp_path / 'late_words' / '__init__.py').write_text(
        'from denseclip.files.lazy import on_first_use\n'
        "__all__, __getattr__, __dir__ = on_first_use(__name__, {'say': 'mouth'})\n"
    )
    (tmp_path / 'late_words' / 'mouth.py').write_text("say = 'a word'\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module('late_words')
    assert made.__all__ == ['say'] and {'say', '__name__'} <= set(dir(made))
    assert 'late_words.mouth' not in sys.modules and made.say == 'a word'
    with pytest.raises(AttributeError, match="'late_words' has no attribute 'sing'"):
        _ = made.sing
    with pytest.raises(ImportError):
        exec('from late_words import sing')


@pytest.mark.parametrize('room', ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    package = importlib.import_module(f'denseclip.{room}')
    assert package.__all__ and set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
