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
    yield from _counts(config.get('model'), 'model')
    yield from _schedule(config)
    yield from _loaders(config)
    hooks = config.get('custom_hooks')
    if isinstance(hooks, _PLAIN) or (isinstance(hooks, list | tuple) and any(isinstance(h, _PLAIN) for h in hooks)):
        yield f'custom_hooks must be a list of dict(type=...), not {hooks!r:.80}'
    yield from _log_level(config.get('log_level'))


def _untyped_model(model: Any) -> Iterable[str]:
    if isinstance(model, Mapping) and model and 'type' not in model:
        yield f'model has no type; it has {", ".join(map(str, list(model)[:5]))}'


def _counts(part: Any, where: str) -> Iterable[str]:
    """Numbers of classes below 1, anywhere in a model."""
    if isinstance(part, list | tuple):
        for place, inner in enumerate(part):
            yield from _counts(inner, f'{where}.{place}')
    if not isinstance(part, Mapping):
        return
    for key, value in part.items():
        if key == 'num_classes' and isinstance(value, int | float | str) and not _is_whole(value, least=1):
            yield f'{where}.{key} must be a whole number of at least 1, not {value!r:.80}'
        yield from _counts(value, f'{where}.{key}')


def _schedule(config: Mapping[str, Any]) -> Iterable[str]:
    """Intervals and seeds that no run takes."""
    loop, randomness = config.get('train_cfg'), config.get('randomness')
    if isinstance(loop, Mapping) and not _is_whole(loop.get('val_interval', 1), least=1):
        yield f'train_cfg.val_interval must be a whole number of at least 1, not {loop["val_interval"]!r:.80}'
    seed = randomness.get('seed') if isinstance(randomness, Mapping) else None
    if seed is not None and not (_is_whole(seed, least=0) and seed < 2**32):
        yield f'randomness.seed must be a whole number from 0 to {2**32 - 1}, or None, not {seed!r:.80}'
    hooks = config.get('default_hooks')
    saving = hooks.get('checkpoint') if isinstance(hooks, Mapping) else None
    interval = saving.get('interval', 1) if isinstance(saving, Mapping) else 1
    if not _is_whole(interval, least=-1):
        yield f'default_hooks.checkpoint.interval must be a whole number (-1 for never), not {interval!r:.80}'


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _classes(dataset: Any, where: str) -> Iterable[str]:
    """Class lists that are none, in a data set or those inside wrappers."""
    if not isinstance(dataset, Mapping):
        return
    meta = dataset.get('metainfo')
    classes = meta.get('classes', ()) if isinstance(meta, Mapping) else ()
    names = classes if isinstance(classes, list | tuple) else ()
    if not isinstance(classes, str | list | tuple) or not all(isinstance(name, str) for name in names):
        yield f'{where}.metainfo.classes must be a list of names, not {classes!r:.80}'
    inner = dataset.get('datasets')
    yield from _classes(dataset.get('dataset'), f'{where}.dataset')
    for place, part in enumerate(inner if isinstance(inner, list | tuple) else ()):
        yield from _classes(part, f'{where}.datasets.{place}')


def _loaders(config: Mapping[str, Any]) -> Iterable[str]:
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if not isinstance(loader, Mapping):
            continue
        if isinstance(loader.get('dataset'), (*_PLAIN, list, tuple)):
            yield f'{split}_dataloader.dataset must be dict(type=...), not {loader["dataset"]!r:.80}'
        yield from _classes(loader.get('dataset'), f'{split}_dataloader.dataset')
        for key, least in (('batch_size', 1), ('num_workers', 0)):
            value = loader.get(key, least)
            if value is not None and not _is_whole(value, least):
                yield f'{split}_dataloader.{key} must be a whole number of at least {least}, not {value!r:.80}'


def _log_level(level: Any) -> Iterable[str]:
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield f"log_level '{level}' is unknown; there are DEBUG, INFO, WARNING, ERROR"
