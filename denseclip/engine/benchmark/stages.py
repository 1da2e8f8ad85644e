"""Where the time of a step goes: text, tower, neck and head, post-processing."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from .patching import find, wrapped
from .timing import synchronize

Patch = tuple[str, str, str]
"""Path of an object below the model, name of its method, stage that the method's own time belongs to."""

_COMMON: tuple[Patch, ...] = (
    ('data_preprocessor', 'forward', 'preprocessing'),
    ('class_text', 'forward', 'text'),
    ('backbone', 'forward', 'tower'),
    ('text', 'forward', 'text'),
    ('tower', 'forward', 'tower'),
)
TEST_STAGES: tuple[Patch, ...] = (
    *_COMMON,
    ('', 'text_of', 'text'),
    ('', 'embed', 'tower'),
    ('', 'view_scores', 'views'),
    ('', 'score', 'post-processing'),
    ('neck', 'forward', 'neck and head'),
    ('', 'pyramid', 'neck and head'),
    ('bbox_head', 'predict', 'neck and head'),
    ('rpn_head', 'predict', 'proposals'),
    ('roi_head', 'predict', 'objects'),
    ('', 'predict', 'post-processing'),
    ('', 'head_logits', 'neck and head'),
    ('', 'encode_decode', 'neck and head'),
    ('decode_head', 'predict_by_feat', 'post-processing'),
)
TRAIN_STAGES: tuple[Patch, ...] = (*_COMMON, ('', 'loss', 'neck, heads and losses'))
OTHER = 'other'


class StageClock:
    """Exclusive time per stage: what a stage calls that is a stage itself counts there, not twice.

    Args:
        device: Where the work runs; a GPU is waited for at every border, so stages add up to more than a free run.
    """

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        self.device = device
        self.runs: list[dict[str, float]] = []
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def watch(self, patches: Sequence[tuple[Any, str, str]]) -> Iterator[None]:
        """Time methods ``(owner, name, stage)`` while the context lasts; what no stage claims is ``other``."""
        with ExitStack() as stack:
            for owner, name, stage in patches:
                if owner is not None:
                    stack.enter_context(wrapped(owner, name, functools.partial(self._timed, stage)))
            self.runs.append({OTHER: 0.0})
            self._enter(OTHER)
            try:
                yield
            finally:
                self._leave()

    def _timed(self, stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            self._enter(stage)
            try:
                return method(*args, **kwargs)
            finally:
                self._leave()

        return run

    def _enter(self, stage: str) -> None:
        self._charge()
        self._stack.append(stage)
        self.runs[-1].setdefault(stage, 0.0)

    def _leave(self) -> None:
        self._charge()
        self._stack.pop()

    def _charge(self) -> None:
        """Give the time since the last border to the stage that is running."""
        synchronize(self.device)
        now = time.perf_counter()
        if self._stack:
            self.runs[-1][self._stack[-1]] += now - self._since
        self._since = now


def resolve_stages(model: Any, patches: Sequence[Patch]) -> list[tuple[Any, str, str]]:
    """Turn paths below a model into its objects; parts that the model lacks become None."""
    return [(find(model, path), name, stage) for path, name, stage in patches]
