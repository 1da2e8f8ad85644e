"""Imports of the package go down and never round; what is counted is what a made-up package holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import house

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def found() -> house.House:
    return house.count(ROOT / 'denseclip')


def test_no_import_goes_up(found: house.House) -> None:
    """A room that needs something from above should get it handed in, or the thing should move down."""
    assert [f'{one.importer} -> {one.imported}' for one in found.upward] == []


def test_no_imports_in_a_circle(found: house.House) -> None:
    assert found.circles == []


def test_every_room_has_a_layer(found: house.House) -> None:
    for module in found.lines:
        assert module in house.FRONT or house.layer(module) >= 0


def test_the_order_is_written_down_for_contributors() -> None:
    text = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    steps = [', '.join(f'`{room}`' for room in rooms) for rooms in house.LAYERS]
    assert ' → '.join(steps) in ' '.join(text.split())


def package(folder: Path, **files: str) -> Path:
    """A package of these modules; ``__`` in a name stands for a folder."""
    for name, text in files.items():
        path = folder / f'{name.replace("__", "/")}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_imports_that_run_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    made = house.count(
        package(
            tmp_path,
            version='from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import denseclip.engine.run\n',
            clip__words='def late():\n    from denseclip.engine import run\n',
            clip__tower='try:\n    from ..engine.run import main\nexcept ImportError:\n    main = None\n',
            engine__run='class Late:\n    from denseclip.version import __version__\n',
        )
    )
    pairs = {(one.importer, one.imported, one.goes_up) for one in made.imports}
    assert pairs == {
        ('denseclip.clip.tower', 'denseclip.engine.run', True),
        ('denseclip.engine.run', 'denseclip.version', False),
    }


def test_circles_are_found_at_any_length(tmp_path: Path) -> None:
    made = house.count(
        package(
            tmp_path,
            clip__a='from . import b\n',
            clip__b='from denseclip.clip.c import x\n',
            clip__c='import denseclip.clip.a\nimport denseclip.clip.d\n',
            clip__d='',
        )
    )
    assert made.circles == [['denseclip.clip.a', 'denseclip.clip.b', 'denseclip.clip.c']]


def test_equal_functions_count_whatever_their_docstring(tmp_path: Path) -> None:
    body = '    a = x\n    b = a\n    c = b\n    return c\n'
    made = house.count(
        package(
            tmp_path,
            clip__a=f'def f(x: int) -> int:\n    "Text."\n{body}',
            clip__b=f'def g(x):\n{body}',
            clip__c=f'def h(y):\n{body}',
        )
    )
    assert made.doubles == [('denseclip.clip.a:f', 'denseclip.clip.b:g')]
    assert (len(made.functions), made.lines['denseclip.clip.a']) == (3, 6)


def test_a_module_of_no_layer_is_named() -> None:
    with pytest.raises(ValueError, match="'denseclip.attic.x' lives in no layer"):
        house.layer('denseclip.attic.x')
