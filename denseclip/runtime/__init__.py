"""Exported models without PyTorch: numpy, Pillow, onnxruntime and tokenizers are all that is needed.

>>> model = denseclip.runtime.load('exported')  # doctest: +SKIP
>>> model.segment('street.jpg', 'road; car = automobile, vehicle; sky').save('out')  # doctest: +SKIP
"""

import importlib
from typing import Any

_HOMES = {'Manifest': 'manifest', 'RuntimeModel': 'model', 'load': 'model'}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
