"""Pictures of results: overlays with a legend, palettes, and label maps as PNG files.

The names below are imported on first use: palettes and label maps need no OpenCV, drawing does.
"""

import importlib
from typing import Any

_HOMES = {
    'distinct_palette': 'palette',
    'encode_label_png': 'label_png',
    'known_palette': 'palette',
    'overlay_palette': 'palette',
    'overlay_picture': 'overlay',
    'palette_for': 'palette',
    'read_label_png': 'label_png',
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
