"""The sources run on the oldest Python that the package promises: neither newer syntax nor newer standard modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ('denseclip', 'tools', 'tests', 'studies', 'configs')
NEWER = {  # what came with 3.11, 3.12 and 3.13 (their "What's New" pages)
    'asyncio': {'Barrier', 'Runner', 'TaskGroup', 'timeout', 'timeout_at'},
    'builtins': {'BaseExceptionGroup', 'ExceptionGroup', 'PythonFinalizationError'},
    'calendar': {'Day', 'Month'},
    'collections.abc': {'Buffer'},
    'contextlib': {'chdir'},
    'copy': {'replace'},
    'datetime': {'UTC'},
    'enum': {'CONTINUOUS', 'EnumCheck', 'EnumType', 'FlagBoundary', 'NAMED_FLAGS', 'ReprEnum', 'StrEnum', 'UNIQUE'}
    | {'global_enum', 'member', 'nonmember', 'property', 'show_flag_values', 'verify'},
    'hashlib': {'file_digest'},
    'inspect': {'BufferFlags', 'getasyncgenlocals', 'getasyncgenstate', 'getmembers_static', 'markcoroutinefunction'},
    'itertools': {'batched'},
    'logging': {'getHandlerByName', 'getHandlerNames', 'getLevelNamesMapping'},
    'math': {'cbrt', 'exp2', 'fma', 'sumprod'},
    'operator': {'call'},
    'os': {'process_cpu_count'},
    'queue': {'ShutDown'},
    'random': {'binomialvariate'},
    'sys': {'activate_stack_trampoline', 'exception', 'monitoring'},
    'tomllib': {'*'},
    'types': {'CapsuleType', 'get_original_bases'},
    'typing': {'LiteralString', 'Never', 'NoDefault', 'NotRequired', 'ReadOnly', 'Required', 'Self', 'TypeAliasType'}
    | {'TypeIs', 'TypeVarTuple', 'Unpack', 'assert_never', 'assert_type', 'clear_overloads', 'dataclass_transform'}
    | {'get_overloads', 'get_protocol_members', 'is_protocol', 'override', 'reveal_type'},
    'warnings': {'deprecated'},
}
NEWER_METHODS = {'add_note', 'subgroup'}
GUARDED = {('hashlib', 'file_digest')}  # asked for by hasattr first


def oldest() -> tuple[int, int]:
    found = re.search(r'python_requires=.>=3\.(\d+)', (ROOT / 'setup.py').read_text(encoding='utf-8'))
    return 3, int(found.group(1))


def newer_names(tree: ast.AST) -> Iterator[str]:
    """Names of the standard library in a module that the oldest Python does not have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            known = NEWER.get(node.module or '', set())
            yield from (f'{node.module}.{a.name}' for a in node.names if known & {a.name, '*'})
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if '*' in NEWER.get(a.name, ()))
        elif isinstance(node, ast.Attribute):
            home = ast.unparse(node.value)
            if node.attr in NEWER.get(home, ()) and (home, node.attr) not in GUARDED or node.attr in NEWER_METHODS:
                yield f'{home}.{node.attr}'
        elif isinstance(node, ast.Name) and node.id in NEWER['builtins']:
            yield node.id


@pytest.mark.parametrize('folder', FOLDERS)
def test_sources_need_nothing_newer(folder: str) -> None:
    assert oldest() == (3, 10), 'the table above is about what came after 3.10'
    found = {}
    for path in sorted((ROOT / folder).rglob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf-8'), path.name, feature_version=oldest())
        if names := list(newer_names(tree)):
            found[str(path.relative_to(ROOT))] = names
    assert not found


@pytest.mark.parametrize(
    'source',
    [
        'from typing import Any, Self',
        'import tomllib',
        'import datetime\nnow = datetime.datetime.now(datetime.UTC)',
        'raise ExceptionGroup("several", [])',
    ],
)
def test_newer_names_are_found(source: str) -> None:
    assert list(newer_names(ast.parse(source)))


@pytest.mark.parametrize(
    'source', ['try:\n    pass\nexcept* ValueError:\n    pass', 'type X = int', 'def f[T](): pass']
)
def test_newer_syntax_is_found(source: str) -> None:
    with pytest.raises(SyntaxError):
        ast.parse(source, feature_version=oldest())
