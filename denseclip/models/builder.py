"""Build sub-modules from configs or take ready-made ones, so that every model works from Python and from config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn


def build_module(spec: Mapping[str, Any] | nn.Module) -> Any:
    """Return ``spec`` if it is a module, else build the module from its ``type``.

    MMSeg's registry is asked, which also sees everything in MMEngine's root registry.

    Raises:
        TypeError: if ``spec`` is neither.
    """
    if isinstance(spec, nn.Module):
        return spec
    if isinstance(spec, Mapping):
        return MODELS.build(ConfigDict(spec))
    raise TypeError(f'expected a module or a config dict with "type", got {type(spec).__name__}: {spec!r}')


def with_own_settings(usual: Mapping[str, Any] | None, given: Any) -> Any:
    """A config with what was given instead of what is usual; anything but a config of the same type stays as it is.

    Args:
        usual: Config with a ``type``, or None.
        given: A module, a config (its ``type`` may be left out where one is usual), or None.
    """
    if given is None:
        return usual
    if usual is None or not isinstance(given, Mapping) or given.get('type', usual['type']) != usual['type']:
        return given
    inner = {
        key: {**value, **given[key]}
        for key, value in usual.items()
        if isinstance(value, Mapping) and isinstance(given.get(key), Mapping)
    }
    return {**usual, **given, **inner}
