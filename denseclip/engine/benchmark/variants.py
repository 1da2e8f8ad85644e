"""The plain version of a model: what the reference code does, switched on for the length of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..config import OptionError
from .plain_open_vocab import is_open_vocabulary, plain_open_vocabulary

FAST, PLAIN = 'ours', 'plain'
PLAIN_MEANS = 'text encoded for every window, full K x H x W logits and then argmax, one window at a time'


def require_plain(model: nn.Module) -> None:
    """Raise if a model has no plain version to compare with.

    Raises:
        OptionError: If it neither caches text nor makes label maps without logits.
    """
    if not hasattr(model, 'class_text') and not hasattr(model, 'keep_logits'):
        raise OptionError(
            f'--against baseline: {type(model).__name__} has no text branch and no chunked label maps, it is the plain '
            'version; leave the option out'
        )


@contextmanager
def variant(model: Any, name: str) -> Iterator[None]:
    """Run a model as one of :data:`FAST` (as configured) and :data:`PLAIN`."""
    if name == FAST:
        yield
        return
    if is_open_vocabulary(model):
        with plain_open_vocabulary(model):
            yield
        return
    text = getattr(model, 'class_text', None)
    before = getattr(text, 'caching', None), getattr(model, 'keep_logits', None), dict(model.test_cfg)
    _set(text, 'caching', False)
    _set(model, 'keep_logits', True)
    model.test_cfg['window_batch'] = 1
    try:
        yield
    finally:
        _set(text, 'caching', before[0])
        _set(model, 'keep_logits', before[1])
        model.test_cfg.clear()
        model.test_cfg.update(before[2])


def _set(owner: Any, name: str, value: Any) -> None:
    if hasattr(owner, name):
        setattr(owner, name, value)
