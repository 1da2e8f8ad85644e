"""What a package's ``__init__`` collects from its submodules, read without running it."""

from __future__ import annotations

import ast
import functools
import re
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from typing import Any

_STAR = '*'
_ALL = re.compile(r'^__all__ = (\[.*?\])$', re.MULTILINE | re.DOTALL)
"""A module's list of names; to read it so takes a hundredth of the time of parsing the whole module."""


@dataclass(frozen=True)
class Source:
    """Where a name is at home: a module, and its name there (None: the module itself)."""

    module: str
    name: str | None


@dataclass(frozen=True)
class Exports:
    """The import statements of an ``__init__`` that does nothing else.

    Attributes:
        package: Full name of the package.
        steps: Module (empty: it depends), name in it (``*`` for all), and name here, in the order of the file.
    """

    package: str
    steps: tuple[tuple[str, str, str], ...]

    @functools.cached_property
    def modules(self) -> frozenset[str]:
        """Short names of the submodules that the ``__init__`` imports from."""
        inside = [home if home != self.package else f'{home}.{name}' for home, name, _ in self.steps]
        own = f'{self.package}.'
        return frozenset(home.removeprefix(own).split('.')[0] for home in inside if home.startswith(own))

    def source_of(self, name: str) -> Source | None:
        """Where a name comes from, or None if only running the ``__init__`` can tell; the last import counts."""
        for home, there, here in reversed(self.steps):
            if here == name:
                if not home:
                    return None
                return Source(f'{home}.{there}', None) if home == self.package else Source(home, there)
            if there == _STAR and not name.startswith('__'):
                public = public_names(home)
                if public is None:
                    return None  # it may be among them
                if name in public:
                    return Source(home, name)
        return None


def read_exports(package: str, text: str) -> Exports | None:
    """Read an ``__init__``.

    Args:
        package: Full name of the package.
        text: Text of the file.

    Returns:
        What it exports; None if it does more than collect names, so that it has to be run.
    """
    steps: list[tuple[str, str, str]] = []
    for node in ast.parse(text).body:
        inner = [*node.body, *node.orelse] if isinstance(node, ast.If) else []
        for part in inner or [node]:
            if not _only_collects(part):
                return None
            if isinstance(part, ast.ImportFrom) and part.module != '__future__':
                home = _home(package, part)
                names = [(alias.name, alias.asname or alias.name) for alias in part.names]
                if (_STAR, _STAR) in names and not home.startswith(f'{package}.'):
                    return None
                steps += [('' if inner else home, *name) for name in names]
    return Exports(package, tuple(steps))


@functools.cache
def public_names(module: str) -> frozenset[str] | None:
    """The ``__all__`` of a module, read without importing it; None if that cannot be."""
    loaded = sys.modules.get(module)
    if loaded is not None and '__all__' in vars(loaded):
        return frozenset(vars(loaded)['__all__'])
    spec = find_spec(module)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        return None
    text = _text(spec.loader, module)
    alone = _ALL.search(text) if text.count('__all__') == 1 else None
    found = None if alone is None else _literal_text(alone[1])
    if found is not None:
        return found
    nodes = [node for node in ast.parse(text).body if _mentions_all(node)]
    return _literal(nodes[0]) if len(nodes) == 1 and _is_all(nodes[0]) else None


def _text(loader: SourceFileLoader, module: str) -> str:
    return loader.get_source(module) or ''


def _home(package: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ''
    base = package.rsplit('.', node.level - 1)[0] if node.level > 1 else package
    return f'{base}.{node.module}' if node.module else base


def _only_collects(node: ast.stmt) -> bool:
    """Whether a statement does nothing but bring names together."""
    if isinstance(node, ast.Expr):
        call = node.value
        adds = isinstance(call, ast.Call) and ast.unparse(call.func) in ('__all__.append', '__all__.extend')
        return adds or isinstance(call, ast.Constant)
    if isinstance(node, ast.FunctionDef):
        return node.name == '__getattr__'  # asked last, when the file has been run
    return isinstance(node, ast.ImportFrom | ast.Pass) or (_is_all(node) and _literal(node) is not None)


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ['__all__']


def _mentions_all(node: ast.stmt) -> bool:
    return any(isinstance(part, ast.Name) and part.id == '__all__' for part in ast.walk(node))


def _literal_text(text: str) -> frozenset[str] | None:
    """The strings of a list as it stands in a file; None if the text is cut off or holds anything else."""
    try:
        return frozenset(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return None


def _literal(node: ast.stmt) -> frozenset[str] | None:
    """The strings of a list that is spelled out."""
    try:
        value: Any = ast.literal_eval(getattr(node, 'value', node))
    except ValueError:
        return None
    return frozenset(value) if isinstance(value, list | tuple) else None
