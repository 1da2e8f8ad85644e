"""DenseCLIP Suite: CLIP-based dense prediction as a plug-in for MMEngine, MMSegmentation and MMDetection.

Importing the package makes the host stack usable and lets MMEngine's registries find every backbone, head, segmentor,
data set and hook (:mod:`denseclip.compat`), so that ``custom_imports = dict(imports=['denseclip'])`` is all that an
existing MMSegmentation config needs. Neither torch nor the host stack is imported before it is used::

    import denseclip
    result = denseclip.segment('street.jpg', 'road; car=automobile,vehicle; sky')
    result.save('out')
    model = denseclip.load_model('naclip', words='road; car; sky')  # any name of denseclip.list_models()
    results = model('shots/')
"""

from __future__ import annotations

import importlib
from typing import Any

from denseclip import compat
from denseclip.version import __version__

compat.install()

_API = {
    'segment': 'denseclip.apis',
    'detect': 'denseclip.apis',
    'anomaly': 'denseclip.apis.functions',
    'localize_anomalies': 'denseclip.apis',
    'adapt': 'denseclip.apis.adapt',
    'from_pretrained': 'denseclip.apis',
    'load_model': 'denseclip.apis',
    'list_models': 'denseclip.apis.catalogue',
    'Inferencer': 'denseclip.apis',
    'Segmentation': 'denseclip.apis',
    'Vocabulary': 'denseclip.clip',
    'TextBank': 'denseclip.clip',
    'load_clip': 'denseclip.clip',
}
_PACKAGES = ('apis', 'clip', 'datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization', 'weights')
__all__ = [
    'Inferencer',
    'Segmentation',
    'TextBank',
    'Vocabulary',
    '__version__',
    'adapt',
    'anomaly',
    'detect',
    'from_pretrained',
    'list_models',
    'load_clip',
    'load_model',
    'localize_anomalies',
    'segment',
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f'denseclip.{name}')
    if name not in _API:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if _API[name].startswith('denseclip.apis') and name != 'list_models':
        importlib.import_module('denseclip.compat.versions').require_host_stack(f'denseclip.{name}')
    return getattr(importlib.import_module(_API[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_API, *_PACKAGES})
