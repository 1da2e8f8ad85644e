"""timm's table of architectures over a ``timm.models`` that is not imported as a whole."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .packages import is_lazy, run_whole

_PACKAGE = 'timm.models'
_BY_NAME = ('is_model', 'model_entrypoint', 'is_model_pretrained', 'get_pretrained_cfg', 'get_pretrained_cfg_value')
_TABLES = ('list_models', 'list_pretrained', 'list_modules', 'is_model_in_modules', 'get_deprecated_models')
_DEFINED = r'^@register_model\ndef {}\('


def install() -> None:
    """Let the functions that look a name up import its module first, and those that list names import all."""
    registry = sys.modules[f'{_PACKAGE}._registry']
    for name in _BY_NAME:
        _wrap(registry, name, lambda model, *_: _import_home(model))
    for name in (*_TABLES, 'get_arch_pretrained_cfgs'):
        _wrap(registry, name, lambda *_: _import_all())


def _wrap(registry: Any, name: str, before: Callable[..., None]) -> None:
    function = getattr(registry, name, None)
    if function is None:  # another version of timm
        return

    @functools.wraps(function)
    def prepared(*args: Any, **kwargs: Any) -> Any:
        if args:
            before(*args)
        else:
            _import_all()
        return function(*args, **kwargs)

    setattr(registry, name, prepared)


def _import_home(model: Any) -> None:
    """Import the module that defines an architecture; all of them if none does (an old name, or no name at all)."""
    if not is_lazy(_PACKAGE):
        return
    name = str(model).split('.', 1)[0]
    home = _home(name)
    if home is None:
        _import_all()
    else:
        import_module(home)


@functools.cache
def _home(name: str) -> str | None:
    pattern = re.compile(_DEFINED.format(re.escape(name)), re.MULTILINE)
    for folder in sys.modules[_PACKAGE].__path__:
        for file in sorted(Path(folder).glob('*.py')):
            text = file.read_text(encoding='utf-8')
            if name in text and pattern.search(text):
                return f'{_PACKAGE}.{file.stem}'
    return None


def _import_all() -> None:
    if is_lazy(_PACKAGE):
        run_whole(sys.modules[_PACKAGE])
