"""Packages that import a submodule when one of its names is asked for, instead of all at once.

A package whose ``__init__`` only collects names (:mod:`.exports`) is given to Python without running that file. The
first use of a name imports the submodule it comes from; whatever the text of the ``__init__`` cannot answer, such as an
unknown name or ``from package import *``, runs it, and from then on the package is an ordinary one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from .exports import Exports, read_exports

_WHOLE = f'{__package__}.whole:'
_EXPORTS = '_denseclip_exports'


class LazyPackage(ModuleType):
    """A package whose ``__init__`` has not been run."""

    def __getattr__(self, name: str) -> Any:
        """Import what the name needs."""
        exports: Exports = vars(self)[_EXPORTS]
        source = exports.source_of(name)
        if source is not None:
            module = import_module(source.module)
            value = module if source.name is None else getattr(module, source.name)
            super().__setattr__(name, value)
            return value
        if name.startswith('__') and name != '__all__':
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')  # of the import system
        if name in exports.modules or PathFinder.find_spec(f'{self.__name__}.{name}', self.__path__) is not None:
            return import_module(f'{self.__name__}.{name}')
        run_whole(self)
        own = vars(self).get('__getattr__')
        if name not in vars(self) and own is not None:
            return own(name)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}') from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set it; a submodule that was just imported does not hide a name of the package, as ``__init__`` has it."""
        if isinstance(value, ModuleType) and value.__name__ == f'{self.__name__}.{name}':
            source = vars(self)[_EXPORTS].source_of(name)
            if source is not None and source.module == value.__name__ and source.name is not None:
                value = getattr(value, source.name, value)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """All names."""
        run_whole(self)
        return sorted(vars(self))


def is_lazy(package: str) -> bool:
    """Whether a package is there without its ``__init__``."""
    return isinstance(sys.modules.get(package), LazyPackage)


def run_whole(package: ModuleType) -> None:
    """Run the ``__init__`` of a lazy package; nothing happens to others.

    It goes through the import system, whose locks make other threads wait for the end and resolve circles.
    """
    if isinstance(package, LazyPackage):
        import_module(_WHOLE + package.__name__.replace('.', ':'))


class _WholeLoader(Loader):
    """Runs the ``__init__`` of a lazy package in that package."""

    def __init__(self, package: LazyPackage) -> None:
        self.package = package

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        package = self.package
        spec = package.__spec__
        assert spec is not None
        SourceFileLoader(spec.name, str(spec.origin)).exec_module(package)
        package.__class__ = ModuleType  # type: ignore[assignment]
        vars(package).pop(_EXPORTS, None)


class LazyPackages(MetaPathFinder):
    """Find packages whose names are wanted lazily; belongs at the front of ``sys.meta_path``.

    Args:
        wanted: Says of a full name whether it is; packages that do more than collect names are imported as ever.
    """

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname.startswith(_WHOLE):
            package = sys.modules[fullname.removeprefix(_WHOLE).replace(':', '.')]
            return ModuleSpec(fullname, _WholeLoader(package)) if isinstance(package, LazyPackage) else None
        if not self.wanted(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.submodule_search_locations is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        exports = read_exports(fullname, spec.loader.get_source(fullname) or '')
        if exports is None:
            return None

        def become_lazy(module: ModuleType) -> None:
            setattr(module, _EXPORTS, exports)
            module.__class__ = LazyPackage

        spec.loader.exec_module = become_lazy  # type: ignore[method-assign]
        return spec
