"""Data samples: what data sets give to models and models give back.

The names below are imported on first use: results are made of numbers, and read where there is no torch, too.
"""

import importlib
from typing import Any

_HOMES = {
    'AnomalyDataSample': 'anomaly_sample',
    'MaskProposals': 'mask_proposals',
    'MaskProposer': 'mask_proposals',
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
