"""Packages whose ``__init__`` waits: every name is what it would be, and no more is imported than it needs."""

import importlib
import itertools
import sys
import threading
from types import ModuleType

import pytest

from denseclip.compat.lean import exports
from denseclip.compat.lean.exports import read_exports
from denseclip.compat.lean.packages import LazyPackage, LazyPackages, is_lazy

_NUMBERS = itertools.count()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a package, and have it found lazily."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(**files):
        name = f'lazy_package_{next(_NUMBERS)}'
        for path, text in files.items():
            file = tmp_path / name / path.replace('__in__', '/').removeprefix('/')
            file = file.with_suffix('.py') if path != 'init' else tmp_path / name / '__init__.py'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        importlib.invalidate_caches()
        names.append(name)
        return importlib.import_module(name)

    finder = LazyPackages(lambda full: full.split('.')[0] in names or full.startswith('lazy_package_'))
    monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    yield write
    for full in [full for full in sys.modules if 'lazy_package_' in full]:
        del sys.modules[full]


def loaded(package):
    own = f'{package.__name__}.'
    return {full.removeprefix(own) for full in sys.modules if full.startswith(own)}


def test_a_name_imports_its_module_and_no_other(make):
    package = make(init='"""Doc."""\nfrom .a import x\nfrom .b import y as z\n', a='x = 1', b='y = 2')
    assert is_lazy(package.__name__)
    assert loaded(package) == set()
    assert package.z == 2
    assert loaded(package) == {'b'}
    assert package.x == 1
    assert isinstance(package, LazyPackage)


def test_stars_are_looked_up_in_all_lists_and_the_last_one_wins(make):
    package = make(
        init='from .a import *\nfrom .b import *\n',
        a="__all__ = ['x', 'y']\nx = 1\ny = 1",
        b="__all__ = ['y']\ny = 2",
    )
    assert (package.y, loaded(package)) == (2, {'b'})
    assert (package.x, loaded(package)) == (1, {'a', 'b'})


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("__all__ = ['a', 'b']\n", {'a', 'b'}),
        ("x = 1\n__all__ = [\n    'a',  # one [of two]\n    'b',\n]\ny = []\n", {'a', 'b'}),
        ("__all__ = ('a', 'b')\n", {'a', 'b'}),
        ('__all__ = []\n', set()),
        ("__all__ = ['a']\n__all__ += ['b']\n", None),
        ("__all__ = ['a'] + list('b')\n", None),
        ("if True:\n    __all__ = ['a']\n", None),
        ('x = 1\n', None),
    ],
)
def test_lists_of_names_are_read_as_python_reads_them(tmp_path, monkeypatch, text, expected):
    monkeypatch.syspath_prepend(tmp_path)
    name = f'listed_{next(_NUMBERS)}'
    (tmp_path / f'{name}.py').write_text(text)
    importlib.invalidate_caches()
    assert exports.public_names(name) == expected
    monkeypatch.setattr(exports, '_ALL', exports.re.compile('never'))
    exports.public_names.cache_clear()
    assert exports.public_names(name) == expected


def test_a_star_without_a_list_runs_the_init(make):
    package = make(init='from .a import *\nfrom .b import y\n', a='x = 1\n_hidden = 2', b='y = 3')
    assert package.x == 1
    assert type(package) is ModuleType
    assert loaded(package) == {'a', 'b'}
    assert not hasattr(package, '_hidden')


def test_a_function_is_not_hidden_by_its_module_of_the_same_name(make):
    package = make(init='from .tool import tool\n', tool='def tool():\n    return 1')
    importlib.import_module(f'{package.__name__}.tool')
    assert package.tool() == 1


def test_unknown_names_are_refused_after_the_init_was_run(make):
    package = make(init='from .a import x\n', a='x = 1')
    with pytest.raises(AttributeError, match='no attribute'):
        _ = package.nothing
    assert loaded(package) == {'a'}
    assert not is_lazy(package.__name__)
    assert not hasattr(package, '__wrapped__')


def test_an_init_that_answers_for_names_itself_is_asked_last(make):
    answer = (
        'def __getattr__(name):\n    if name == "late":\n        return 7\n    raise AttributeError(f"no {name}")\n'
    )
    package = make(init=f'from .a import x\n{answer}', a='x = 1', b='y = 2')
    assert is_lazy(package.__name__)
    assert package.x == 1
    assert is_lazy(package.__name__)
    assert package.late == 7
    with pytest.raises(AttributeError, match='no other'):
        _ = package.other


def test_modules_that_the_init_does_not_name_are_found(make):
    package = make(init='from .a import x\n', a='x = 1', other='z = 3')
    namespace = {}
    exec(f'from {package.__name__} import other', namespace)
    assert namespace['other'].z == 3
    assert loaded(package) == {'other'}


def test_everything_is_there_for_who_wants_everything(make):
    package = make(init="from .a import x\nfrom .b import y\n__all__ = ['x']\n", a='x = 1', b='y = 2')
    namespace = {}
    exec(f'from {package.__name__} import *', namespace)
    assert namespace['x'] == 1
    assert 'y' not in namespace
    assert {'x', 'y', 'a', 'b'} <= set(dir(package))
    assert type(package) is ModuleType


@pytest.mark.parametrize(
    'statement', ['import os', 'VERSION = 1', 'def f(): pass', 'try:\n    from .a import x\nexcept ImportError: pass']
)
def test_a_package_that_does_more_is_imported_as_ever(make, statement):
    package = make(init=f'from .a import x\n{statement}\n', a='x = 1')
    assert type(package) is ModuleType
    assert loaded(package) == {'a'}


def test_conditions_are_left_to_the_init(make):
    package = make(init='from .a import x\nif x:\n    from .b import y\n', a='x = 1', b='y = 2')
    assert package.x == 1
    assert loaded(package) == {'a'}
    assert package.y == 2
    assert not is_lazy(package.__name__)


def test_modules_that_need_each_other_through_the_package(make):
    package = make(
        init='from .a import first\nfrom .b import second\n',
        a='def first():\n    from . import second\n    return second()',
        b='from . import first\ndef second():\n    return first.__name__',
    )
    assert package.second() == 'first'
    assert package.first() == 'first'


def test_an_init_that_fails_says_so_each_time_and_can_be_tried_again(make, tmp_path):
    package = make(init='from .a import *\nfrom .b import *\n', a='x = 1', b='import missing_package_of_nobody')
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match='missing_package_of_nobody'):
            _ = package.nothing
    (tmp_path / package.__name__ / 'b.py').write_text('y = 22222')
    importlib.invalidate_caches()
    assert package.y == 22222


def test_threads_that_ask_at_once_get_the_same(make):
    slow = 'import time\ntime.sleep(0.05)\n'
    package = make(init='from .a import *\nfrom .b import *\n', a=f'{slow}x = object()', b=f'{slow}y = object()')
    found, start = [], threading.Barrier(8)

    def ask(name):
        start.wait()
        found.append((name, getattr(package, name)))

    threads = [threading.Thread(target=ask, args=('xy'[k % 2],)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 2


def test_exports_are_read_as_python_runs_them():
    lines = ('from __future__ import annotations', 'from .a import x', 'from ..other import y', 'from far import z')
    text = '\n'.join((*lines, 'from . import sub'))
    exports = read_exports('top.pack', text)
    sources = {name: exports.source_of(name) for name in ('x', 'y', 'z', 'sub')}
    assert {name: (source.module, source.name) for name, source in sources.items()} == {
        'x': ('top.pack.a', 'x'),
        'y': ('top.other', 'y'),
        'z': ('far', 'z'),
        'sub': ('top.pack.sub', None),
    }
    assert exports.modules == {'a', 'sub'}
    assert exports.source_of('nothing') is None
    assert read_exports('top', 'from far import *') is None
