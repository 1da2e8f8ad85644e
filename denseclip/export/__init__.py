"""Models as ONNX graphs whose words stay free, with all that ``denseclip.runtime`` needs to run them."""

import importlib
from typing import Any

_HOMES = {'ExportError': 'errors', 'capability': 'capabilities', 'export': 'run'}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
