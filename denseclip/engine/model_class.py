"""The class of a config's model, and what it makes of the config before it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS


def model_class(config: Config, scope: str = 'mmengine') -> Any:
    """The class of a config's model, or None if the registry has no such type (building it says so).

    Args:
        config: With a ``model``.
        scope: Where types are looked up if the config names no ``default_scope``.
    """
    kind = config.model.get('type')
    if not isinstance(kind, str):
        return kind
    with MODELS.switch_scope_and_registry(config.get('default_scope') or scope) as registry:
        return registry.get(kind)


def fitted(config: Config, weights: str | Path | None, scope: str = 'mmengine') -> Config:
    """The config as its model wants it for some weights; most models take it as it is.

    A model that reads its sizes from beside its weights has a classmethod ``fitted(config, weights)``.

    Args:
        config: With a ``model``; it is not changed.
        weights: The checkpoint; None: there is none.
        scope: See :func:`model_class`.

    Raises:
        ImportError: If the model needs a package that is not installed.
        FileNotFoundError: If the weights are not there.
        denseclip.weights.WeightFileError: If they are not the model's.
    """
    fit = getattr(model_class(config, scope), 'fitted', None)
    return config if fit is None else fit(config, weights)
