"""MMEngine's registries over packages that are not imported as a whole.

A registry of MMEngine imports its locations, whole packages, at the first look-up. Where a location is a lazy package
(:mod:`.packages`), a look-up here imports the module that registers the name, and no other.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .names import registered_names
from .packages import is_lazy, run_whole

_BASES = {
    'MODELS': ('mmengine.model', 'mmcv.cnn', 'mmcv.cnn.bricks.transformer', 'mmcv.ops', 'mmdet.models'),
    'WEIGHT_INITIALIZERS': ('mmengine.model',),
    'TRANSFORMS': ('mmcv.transforms',),
    'TASK_UTILS': (),
    'DATASETS': ('mmengine.dataset',),
}
"""Root registries of what models and pipelines are made of, and the packages of the host that register in them, too."""
_ENGINE = ('mmengine.model', 'mmengine.optim', 'mmengine.hooks', 'mmengine.runner')
"""What every training imports as a whole, for all other registries."""
_OTHER_BASES = ('mmdet.datasets', 'mmdet.evaluation')


def install() -> None:
    """Let all registries look up names so, present and future."""
    registries = sys.modules['mmengine.registry']
    kind = registries.Registry
    bases = {id(getattr(registries, name)): packages for name, packages in _BASES.items()}
    get, register, import_all = kind.get, kind._register_module, kind.import_from_location

    def get_lazily(self: Any, key: str) -> Any:
        if isinstance(key, str):
            scope, name = self.split_scope_key(key)
            if scope in (None, self._scope):
                _prepare(self, name, bases)
        return get(self, key)

    def import_lazily(self: Any) -> None:
        for location in self._locations:
            import_module(location)
        if not self._locations or not all(map(is_lazy, self._locations)):
            import_all(self)

    def register_in_order(self: Any, module: Any, module_name: Any = None, force: bool = False) -> None:
        names = [module_name] if isinstance(module_name, str) else module_name or [getattr(module, '__name__', '')]
        for name in names:
            _import_homes(self, name, but=getattr(module, '__module__', ''))
        register(self, module=module, module_name=module_name, force=force)

    kind.get, kind.import_from_location, kind._register_module = get_lazily, import_lazily, register_in_order


def _prepare(registry: Any, name: str, bases: dict[int, tuple[str, ...]]) -> None:
    """Import what may register a name in a registry or those above it."""
    if name in registry._module_dict:
        return
    registry.import_from_location()
    _import_homes(registry, name)
    while name not in registry._module_dict and registry.parent is not None:
        registry = registry.parent
    if name in registry._module_dict:
        return
    if id(registry) not in bases:
        for package in _ENGINE:
            run_whole(import_module(package))
    for package in bases.get(id(registry), _OTHER_BASES):
        if name not in registry._module_dict:
            import_module(package)
            _import_from(package, name)


def _import_homes(registry: Any, name: str, but: str = '') -> None:
    """Import the modules of lazy locations that register a name, before somebody else (``but``) does."""
    for location in registry._locations:
        _import_from(location, name, but)


def _import_from(package: str, name: str, but: str = '') -> None:
    if not is_lazy(package):
        return
    found = registered_names(package.split('.')[0])
    homes = found.modules.get(name, ())
    for module in () if but in homes else (*homes, *found.unclear):
        import_module(module)
