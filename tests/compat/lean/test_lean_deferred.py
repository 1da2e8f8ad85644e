"""Imports that wait for the first use of what they bring."""

import importlib
import sys

import pytest

from denseclip.compat.lean.deferred import DeferredImports

HEAVY = 'deferred_heavy'
LIGHT = 'deferred_light'
STATEMENT = f'from {HEAVY} import Thing, work'


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / f'{HEAVY}.py').write_text('class Thing:\n    size = 3\n\n\ndef work(x, y=1):\n    return x + y\n')
    functions = ('def add(x):', '    return work(x, y=2)', 'def is_thing(x):', '    return isinstance(x, (Thing, int))')
    (tmp_path / f'{LIGHT}.py').write_text('\n'.join(('"""Light."""', STATEMENT, '', *functions)))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    finder = DeferredImports({LIGHT: ((STATEMENT, HEAVY, ('Thing', 'work')),)})
    monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    yield tmp_path
    for name in (HEAVY, LIGHT):
        sys.modules.pop(name, None)


def test_the_first_use_imports_and_the_stand_in_is_gone(modules):
    light = importlib.import_module(LIGHT)
    assert HEAVY not in sys.modules
    assert light.is_thing(1)
    assert not light.is_thing('x')
    assert HEAVY not in sys.modules
    assert light.add(1) == 3
    heavy = sys.modules[HEAVY]
    assert light.work is heavy.work
    assert light.is_thing(heavy.Thing())
    assert light.Thing.size == 3


def test_lines_keep_their_numbers(modules):
    light = importlib.import_module(LIGHT)
    assert light.add.__code__.co_firstlineno == 4


def test_a_module_that_imports_otherwise_is_left_alone(modules):
    file = modules / f'{LIGHT}.py'
    file.write_text(file.read_text().replace(STATEMENT, f'from {HEAVY} import (Thing, work)'))
    light = importlib.import_module(LIGHT)
    assert light.work is sys.modules[HEAVY].work


def test_what_is_imported_already_is_not_deferred(modules):
    heavy = importlib.import_module(HEAVY)
    assert importlib.import_module(LIGHT).work is heavy.work


def test_what_an_except_names_is_there_when_something_was_called(modules):
    (modules / f'{HEAVY}.py').write_text('class Thing(Exception):\n    pass\n\n\ndef work():\n    raise Thing\n')
    caught = ('def call():', '    try:', '        work()', '    except Thing:', '        return True')
    (modules / f'{LIGHT}.py').write_text('\n'.join((STATEMENT, *caught)))
    assert importlib.import_module(LIGHT).call()


def test_what_is_not_installed_is_not_deferred(modules):
    (modules / f'{HEAVY}.py').unlink()
    with pytest.raises(ImportError, match=HEAVY):
        importlib.import_module(LIGHT)
