"""The plain version of a model: what the reference code does, switched on for the length of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from denseclip.models.anomaly import AnoVL

from ..config import OptionError
from . import plain_anomaly, plain_open_vocab
from .plain_anomaly import plain_views
from .plain_open_vocab import is_open_vocabulary, plain_open_vocabulary

FAST, PLAIN = 'ours', 'plain'
_DENSECLIP = 'text encoded for every window or batch, full K x H x W logits and then argmax, one window at a time'


def require_plain(model: nn.Module) -> None:
    """Raise if a model has no plain version to compare with.

    Raises:
        OptionError: If it neither caches text nor makes label maps without logits, chooses classes, or asks Segment
            Anything.
    """
    if not hasattr(model, 'class_text') and not hasattr(model, 'keep_logits') and not isinstance(model, AnoVL):
        raise OptionError(
            f'--against baseline: {type(model).__name__} has no text branch, no chunked label maps and no views, it is '
            'the plain version; leave the option out'
        )
    if is_open_vocabulary(model) and model.active_vocabulary is not None:
        raise OptionError(
            '--against baseline: the plain version knows no choice of classes (active_vocabulary); leave either out'
        )
    if is_open_vocabulary(model) and model.sam is not None:
        raise OptionError(
            '--against baseline: Segment Anything sees whole pictures (sam=), which are labelled in the one order of '
            'its code; leave the option out'
        )


def plain_means(model: Any) -> str:
    """What the plain version of a model does, in words."""
    if isinstance(model, AnoVL):
        return plain_anomaly.PLAIN_MEANS
    return plain_open_vocab.PLAIN_MEANS if is_open_vocabulary(model) else _DENSECLIP


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
    if isinstance(model, AnoVL):
        with plain_views(model):
            yield
        return
    text = getattr(model, 'class_text', None)
    slide = (getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide'
    before = getattr(text, 'caching', None), getattr(model, 'keep_logits', None)
    windows = model.test_cfg.get('window_batch', 1) if slide else 1
    _set(text, 'caching', False)
    _set(model, 'keep_logits', True)
    if slide:
        model.test_cfg['window_batch'] = 1
    try:
        yield
    finally:
        _set(text, 'caching', before[0])
        _set(model, 'keep_logits', before[1])
        if slide:
            model.test_cfg['window_batch'] = windows


def _set(owner: Any, name: str, value: Any) -> None:
    if hasattr(owner, name):
        setattr(owner, name, value)
