"""DenseCLIP Suite: CLIP-based dense prediction as a plug-in for MMEngine, MMSegmentation and MMDetection.

Importing the package makes the host stack usable (:mod:`denseclip.compat`) and registers every backbone, head,
segmentor, data set and hook in MMEngine's root registries, so that ``custom_imports = dict(imports=['denseclip'])`` is
all that an existing MMSegmentation config needs::

    import denseclip
    result = denseclip.segment('street.jpg', 'road; car=automobile,vehicle; sky')
    result.save('out')
"""

import importlib
import sys
from typing import Any

from denseclip import compat
from denseclip.compat.versions import has_host_stack, require_host_stack
from denseclip.version import __version__

compat.install()

_API = {
    'segment': 'denseclip.apis',
    'detect': 'denseclip.apis',
    'localize_anomalies': 'denseclip.apis',
    'Inferencer': 'denseclip.apis',
    'Segmentation': 'denseclip.apis',
    'Vocabulary': 'denseclip.clip',
    'TextBank': 'denseclip.clip',
    'load_clip': 'denseclip.clip',
}
__all__ = [
    'Inferencer',
    'Segmentation',
    'TextBank',
    'Vocabulary',
    '__version__',
    'detect',
    'load_clip',
    'localize_anomalies',
    'segment',
]

# Without the host stack the pure PyTorch parts (denseclip.clip, denseclip.weights) still work. A stack that is there
# but broken must not keep `denseclip doctor` from saying so.
if has_host_stack():
    try:
        from denseclip import datasets, engine, evaluation, models  # noqa: F401  (registration)
        from denseclip.visualization import task_visualizer  # noqa: F401  (registration)
    except Exception:
        if sys.argv[1:2] != ['doctor']:
            raise


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if _API[name] == 'denseclip.apis':
        require_host_stack(f'denseclip.{name}')
    return getattr(importlib.import_module(_API[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_API})
