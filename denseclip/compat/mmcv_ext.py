"""Source of the module that answers to ``mmcv._ext`` when mmcv has no compiled extension.

:class:`denseclip.compat.finder.FallbackFinder` runs this file under that name, so the module has a proper
``__spec__`` (mmengine looks for one) and can be reloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from denseclip.compat.ops import OPS, resolve

IS_DENSECLIP_FALLBACK = True


def __getattr__(name: str) -> Callable[..., Any]:
    # Private and dunder names are questions of the import system and of inspection, never operators.
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return resolve(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *OPS})
