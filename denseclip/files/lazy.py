"""Packages whose names are imported on first use, so that reading a vocabulary loads no network code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """What a package needs to import its names late.

    Args:
        package: Its ``__name__``.
        homes: Each public name, and the module of the package that has it.

    Returns:
        ``__all__``, ``__getattr__`` and ``__dir__`` of the package.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(f'{package}.{homes[name]}'), name)

    return sorted(homes), get, lambda: sorted({*vars(sys.modules[package]), *homes})
