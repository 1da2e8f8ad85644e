"""Whether the parts of a config are of the kind that a run takes; MMEngine finds out in the middle of building."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

_MAPPINGS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'optim_wrapper',
    'default_hooks',
    'env_cfg',
    'randomness',
    'auto_scale_lr',
    'log_processor',
    'tta_model',
)
_MAPPINGS_OR_LISTS = ('val_evaluator', 'test_evaluator', 'param_scheduler')
_PLAIN = (str, int, float, bool)


def faults(config: Mapping[str, Any], *, whole: bool = True) -> Iterable[str]:
    """Sentences about parts of the wrong kind.

    Objects that are built already are left alone; only what no run can take is named.

    Args:
        config: A complete config, or a part of one.
        whole: Whether it should be complete: a model then needs its type.
    """
    for key in _MAPPINGS:
        if isinstance(config.get(key), (*_PLAIN, list, tuple)):
            yield f'{key} must be dict(...), not {config[key]!r:.80}'
    for key in _MAPPINGS_OR_LISTS:
        if isinstance(config.get(key), _PLAIN):
            yield f'{key} must be dict(type=...) or a list of such, not {config[key]!r:.80}'
    if whole:
        yield from _untyped_model(config.get('model'))
    yield from _loaders(config)
    hooks = config.get('custom_hooks')
    if isinstance(hooks, _PLAIN) or (isinstance(hooks, list | tuple) and any(isinstance(h, _PLAIN) for h in hooks)):
        yield f'custom_hooks must be a list of dict(type=...), not {hooks!r:.80}'
    yield from _log_level(config.get('log_level'))


def _untyped_model(model: Any) -> Iterable[str]:
    if isinstance(model, Mapping) and model and 'type' not in model:
        yield f'model has no type; it has {", ".join(map(str, list(model)[:5]))}'


def _loaders(config: Mapping[str, Any]) -> Iterable[str]:
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if not isinstance(loader, Mapping):
            continue
        if isinstance(loader.get('dataset'), (*_PLAIN, list, tuple)):
            yield f'{split}_dataloader.dataset must be dict(type=...), not {loader["dataset"]!r:.80}'
        for key, least in (('batch_size', 1), ('num_workers', 0)):
            value = loader.get(key, least)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                yield f'{split}_dataloader.{key} must be a whole number of at least {least}, not {value!r:.80}'


def _log_level(level: Any) -> Iterable[str]:
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield f"log_level '{level}' is unknown; there are DEBUG, INFO, WARNING, ERROR"
