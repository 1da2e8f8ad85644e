"""Import hooks: stand-ins for missing modules, and work to do once a module has been imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


class FallbackFinder(MetaPathFinder):
    """Provide modules that nothing else provides.

    It belongs at the end of ``sys.meta_path``: a real module, wherever it is installed, is found first.

    Args:
        sources: Module name to the file that is run under that name.
    """

    def __init__(self, sources: dict[str, Path]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the names in ``sources`` only (see :class:`importlib.abc.MetaPathFinder`)."""
        source = self.sources.get(fullname)
        return None if source is None else spec_from_file_location(fullname, source)


class AfterImport(MetaPathFinder):
    """Run an action right after a module has been imported for the first time.

    It belongs at the front of ``sys.meta_path`` and only watches: the module is found and loaded as it would be
    without it. So nothing has to be imported merely to be registered with, and no order of imports is prescribed.
    """

    def __init__(self) -> None:
        self._actions: dict[str, list[Callable[[], None]]] = {}

    def register(self, module: str, action: Callable[[], None]) -> None:
        """Run ``action`` once after ``module`` is imported, or now if it already is.

        Args:
            module: Full module name.
            action: Called without arguments.
        """
        if module in sys.modules:
            action()
        else:
            self._actions.setdefault(module, []).append(action)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the other finders answer, and add the actions to the loader they name."""
        actions = self._actions.pop(fullname, None)
        if actions is None:
            return None
        spec = find_spec(fullname)  # asks every finder; this one has no more actions for the name and stands aside
        if spec is None or spec.loader is None:
            self._actions[fullname] = actions
            return None
        execute = spec.loader.exec_module

        def execute_then_act(module: ModuleType) -> None:
            try:
                execute(module)
            except BaseException:
                self._actions[fullname] = actions  # the import may be tried again
                raise
            for action in actions:
                action()

        spec.loader.exec_module = execute_then_act  # type: ignore[method-assign]
        return spec
