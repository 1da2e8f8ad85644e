"""Where MMEngine's registries find the suite's modules, without importing them before something is looked up.

A registry of MMEngine imports its ``locations`` at the first look-up, but a look-up that climbs from a child
(``mmseg``, ``mmdet`` or a project's own) to the root does not import the root's. So every child of a root registry gets
the suite's location, too, whenever it is made.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

LOCATIONS = {
    'MODELS': 'denseclip.models',
    'DATASETS': 'denseclip.datasets',
    'DATA_SAMPLERS': 'denseclip.datasets',
    'TRANSFORMS': 'denseclip.datasets',
    'METRICS': 'denseclip.evaluation',
    'HOOKS': 'denseclip.engine',
    'LOOPS': 'denseclip.engine',
    'RUNNERS': 'denseclip.engine',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'denseclip.engine',
    'PARAM_SCHEDULERS': 'denseclip.engine',
}
"""Name of the root registry to the module whose import registers what belongs there."""


def add_locations(registries: ModuleType) -> None:
    """Let the root registries and all their children, present and future, find the suite's modules.

    Args:
        registries: ``mmengine.registry``.
    """
    for name, location in LOCATIONS.items():
        root = getattr(registries, name)
        _add(root, location)
        for child in root.children.values():
            _add(child, location)
        _watch(root, location)


def _add(registry: Any, location: str) -> None:
    if location not in registry._locations:
        registry._locations = [*registry._locations, location]  # the default list is shared by all registries
        registry._imported = False  # it may have been looked up in already; what is imported stays imported


def _watch(root: Any, location: str) -> None:
    """Add the location to children that are made later."""
    add_child = root._add_child

    def add_child_with_location(child: Any) -> None:
        add_child(child)
        _add(child, location)

    root._add_child = add_child_with_location
