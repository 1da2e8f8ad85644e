"""Imports of host packages that wait until what they bring is used.

Some modules import a heavy package for one function that is seldom called. Here the import statement in their text is
replaced by stand-ins, which import at the first use. A module whose text does not hold the statement as it is known is
imported as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Statement = tuple[str, str, Sequence[str]]
"""An import statement (one line, with its indentation), the module that it imports from, and the names."""


class Deferred:
    """Stands for a name of a module, and becomes it at the first use, together with all others in the same place.

    So what an ``except`` names is a class by the time that a function of the same package raised something.

    Args:
        module: Full name of the module.
        name: Name in it.
        home: Globals in which it stands, under the same name.
    """

    def __init__(self, module: str, name: str, home: dict[str, Any]) -> None:
        self._where = (module, name, home)

    def _resolve(self) -> Any:
        home = self._where[2]
        for other in [value for value in home.values() if type(value) is Deferred and value is not self]:
            other._settle()
        return self._settle()

    def _settle(self) -> Any:
        module, name, home = self._where
        value = getattr(import_module(module), name)
        if home.get(name) is self:
            home[name] = value
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what it stands for."""
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """An attribute of what it stands for."""
        if name.startswith('__'):  # questions of inspection
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        """``isinstance`` with what it stands for: nothing can be an instance before the module is imported."""
        return self._where[0] in sys.modules and isinstance(instance, self._resolve())


class DeferredImports(MetaPathFinder):
    """Replace import statements of modules; belongs at the front of ``sys.meta_path``.

    Args:
        statements: Module to the statements in it that wait.
    """

    def __init__(self, statements: Mapping[str, Sequence[Statement]]) -> None:
        self.statements = statements

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname not in self.statements:
            return None
        statements = self.statements[fullname]
        spec = PathFinder.find_spec(fullname, path, target)
        sources = [source for _, source, _ in statements]
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or any(s in sys.modules for s in sources):
            return None
        if not all(find_spec(source.partition('.')[0]) for source in sources):  # the import has to fail
            return None
        lines = (spec.loader.get_source(fullname) or '').split('\n')
        if any(lines.count(statement) != 1 for statement, _, _ in statements):
            return None
        for statement, _, _ in statements:
            lines[lines.index(statement)] = ''
        code = compile('\n'.join(lines), str(spec.origin), 'exec', dont_inherit=True)

        def execute(module: ModuleType) -> None:
            home = vars(module)
            home.update({name: Deferred(source, name, home) for _, source, names in statements for name in names})
            exec(code, home)

        spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec
