"""Which module registers a name, from the text alone."""

import importlib
import sys

import pytest

from denseclip.compat.lean.names import registered_names


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    name = f'names_of_{request.node.name.split("[")[0]}'
    (tmp_path / name / 'inner').mkdir(parents=True)
    (tmp_path / name / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name, tmp_path / name
    sys.modules.pop(name, None)  # to look for a module in it imports it


def test_decorators_name_classes_and_functions(package):
    name, folder = package
    (folder / 'inner' / 'a.py').write_text(
        '@MODELS.register_module()\nclass A:\n    pass\n\n\n'
        "@X.register_module(name='B', force=True)\n@final\nclass C:\n    pass\n\n\n"
        "@X.register_module(['D', 'E'])\ndef f():\n    pass\n\n\n"
        "@X.register_module('G')\nclass H:\n    pass\n"
    )
    (folder / 'inner' / '__init__.py').write_text('@MODELS.register_module()\nclass A:\n    pass\n')
    found = registered_names(name)
    assert set(found.modules) == {'A', 'B', 'D', 'E', 'G'}
    assert set(found.modules['A']) == {f'{name}.inner', f'{name}.inner.a'}
    assert found.modules['B'] == (f'{name}.inner.a',)
    assert found.unclear == ()


@pytest.mark.parametrize(
    'text',
    [
        "MODELS.register_module('A', module=object)\n",
        'for kind in kinds:\n    MODELS.register_module(module=kind)\n',
        '@MODELS.register_module(name=NAME)\nclass A:\n    pass\n',
        'if new:\n    @MODELS.register_module()\n    class A:\n        pass\n',
        '@MODELS.register_module(\n    name=str(1))\nclass A:\n    pass\n',
    ],
)
def test_other_ways_are_unclear(package, text):
    name, folder = package
    name = f'{name}.inner'
    (folder / 'inner' / '__init__.py').touch()
    (folder / 'inner' / 'a.py').write_text(text)
    registered_names.cache_clear()
    assert registered_names(name).unclear == (f'{name}.a',)


def test_a_package_that_is_not_there_registers_nothing():
    assert not registered_names('package_of_nobody').modules
