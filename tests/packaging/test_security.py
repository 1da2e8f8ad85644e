"""SECURITY.md: each promise names tests that exist; what the package never calls is not called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISE = re.compile(r'^(\d+)\. (.+?)(?=^\d+\. |^#|\Z)', re.MULTILINE | re.DOTALL)
TEST = re.compile(r'`(tests/[\w/]+\.py)::(test_\w+)`')
PROMISES = PROMISE.findall((ROOT / 'SECURITY.md').read_text(encoding='utf-8'))
SOURCES = sorted(path for folder in ('denseclip', 'tools') for path in (ROOT / folder).rglob('*.py'))

RUNS = {
    'eval', 'exec', 'execfile', 'pickle.load', 'pickle.loads', 'pickle.Unpickler', 'marshal.load', 'marshal.loads',
    'dill.load', 'joblib.load', 'shelve.open', 'torch.jit.load', 'torch.hub.load', 'torch.export.load', 'os.system',
    'os.popen', 'yaml.load', 'yaml.load_all', 'yaml.full_load', 'yaml.unsafe_load', 'load_state_dict_from_url',
    'load_url',
}  # fmt: skip
SWITCHES = {'weights_only': True, 'allow_pickle': False, 'shell': False, 'trust_remote_code': False}
"""Arguments that may have this value only."""
ALLOWED = {
    ('denseclip/weights/io.py', 'weights_only=not trust'),  # the one switch
    ('denseclip/runtime/torch_program.py', 'torch.export.load'),  # with trust alone
    ('denseclip/apis/zoo.py', 'yaml.load'),  # of our own file, by the safe loader in C
    ('denseclip/compat/lean/deferred.py', 'exec'),  # functions of installed modules, compiled when they are needed
}
UNPACKS = {'extractall', 'extract', 'unpack_archive', 'untar', 'unzip'}


@pytest.mark.parametrize(('number', 'text'), PROMISES, ids=[number for number, _ in PROMISES])
def test_a_promise_names_tests_that_exist(number: str, text: str) -> None:
    named = TEST.findall(text)
    assert named, f'promise {number} has no test'
    assert [f'{file}::{name}' for file, name in named if name not in functions(file)] == []


def test_promises_are_numbered_without_a_gap() -> None:
    assert [int(number) for number, _ in PROMISES] == list(range(1, len(PROMISES) + 1))
    text = (ROOT / 'SECURITY.md').read_text(encoding='utf-8')
    assert len(TEST.findall(text)) == sum(len(TEST.findall(promise)) for _, promise in PROMISES)


@cache
def functions(file: str) -> set[str]:
    """Names of the tests of a file."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding='utf-8')) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_no_call_runs_what_a_file_says() -> None:
    found = {(str(path.relative_to(ROOT)), what) for path in SOURCES for what in risky(path.read_text('utf-8'))}
    assert found == ALLOWED


def test_nothing_unpacks_archives() -> None:
    calls = [(path.name, name) for path in SOURCES for _, name in called(ast.parse(path.read_text('utf-8')))]
    assert [(file, name) for file, name in calls if name.split('.')[-1] in UNPACKS] == []


@pytest.mark.parametrize(
    'source',
    [
        'torch.load(path, weights_only=False)',
        'torch.load(path)',
        'np.load(path, allow_pickle=flag)',
        'subprocess.run(words, shell=True)',
        'yaml.load(text, Loader)',
        'import pickle as p\npickle.loads(content)',
    ],
)
def test_such_calls_are_found(source: str) -> None:
    assert list(risky(source))


def risky(source: str) -> Iterator[str]:
    """Calls of a source that could run what they read."""
    for call, name in called(ast.parse(source)):
        if name in RUNS or name.split('.')[-1] in ('load_url', 'load_state_dict_from_url'):
            yield name
        given = {word.arg: word.value for word in call.keywords}
        if name == 'torch.load' and 'weights_only' not in given:
            yield name
        for key, allowed in SWITCHES.items():
            value = given.get(key)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is allowed):
                yield f'{key}={ast.unparse(value)}'


def called(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Calls of a source with their names, ``a.b.c``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node, ast.unparse(node.func)
