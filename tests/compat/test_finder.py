"""Import hooks on throw-away modules."""

import importlib
import inspect
import sys

import pytest

from denseclip.compat.finder import AfterImport, FallbackFinder


@pytest.fixture
def module_file(tmp_path, monkeypatch):
    """A module `hooked_module` on the path, forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    source = tmp_path / 'hooked_module.py'
    source.write_text('value = 1\n')
    yield source
    sys.modules.pop('hooked_module', None)


@pytest.fixture
def after_import(module_file):
    hook = AfterImport()
    sys.meta_path.insert(0, hook)
    return hook


def test_action_runs_once_with_the_module_complete(after_import):
    seen = []
    after_import.register('hooked_module', lambda: seen.append(sys.modules['hooked_module'].value))
    module = importlib.import_module('hooked_module')
    assert seen == [1]
    importlib.reload(module)
    assert seen == [1]
    assert inspect.getsource(module) == 'value = 1\n'


def test_action_runs_at_once_for_a_loaded_module(after_import):
    importlib.import_module('hooked_module')
    seen = []
    after_import.register('hooked_module', lambda: seen.append(True))
    assert seen == [True]


def test_a_failed_import_may_be_tried_again(after_import, module_file):
    seen = []
    after_import.register('hooked_module', lambda: seen.append(True))
    module_file.write_text('raise ValueError("broken")')
    with pytest.raises(ValueError, match='broken'):
        importlib.import_module('hooked_module')
    assert seen == []
    module_file.write_text('value = 2\n')
    importlib.invalidate_caches()
    assert importlib.import_module('hooked_module').value == 2
    assert seen == [True]


def test_a_missing_module_stays_missing(after_import):
    after_import.register('no_such_module_anywhere', lambda: None)
    with pytest.raises(ModuleNotFoundError, match='no_such_module_anywhere'):
        importlib.import_module('no_such_module_anywhere')


def test_fallback_runs_the_file_under_the_name(module_file, monkeypatch):
    sys.meta_path.append(FallbackFinder({'stand_in_module': module_file}))
    module = importlib.import_module('stand_in_module')
    try:
        assert (module.__name__, module.value) == ('stand_in_module', 1)
        module_file.write_text('value = 20\n')
        assert importlib.reload(module).value == 20
    finally:
        del sys.modules['stand_in_module']
