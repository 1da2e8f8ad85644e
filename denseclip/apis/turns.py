"""Threads that share a model: one at a time sets its words, runs it and takes the result; one at a time builds.

Words are a state of a model, and so are its text cache and the sizes that some transforms note. Whoever runs a model
therefore holds its turn from the words to the result. Reading pictures and drawing results needs no turn.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from torch import nn

P = ParamSpec('P')
T = TypeVar('T')

_building = threading.RLock()


def builds(make: Callable[P, T]) -> Callable[P, T]:
    """Let one thread at a time make a model: registries, default scope and config files belong to the process."""

    @functools.wraps(make)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with _building:
            return make(*args, **kwargs)

    return alone


class Turn:
    """The turn of one model, whichever inferencers wrap it; a context manager, which one thread may enter repeatedly.

    Attributes:
        asked: The words that the model was asked for last, in any form that compares; None: not known.
        vocabulary: What it made of them. Another one than the model's own means that somebody else has changed it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.asked: Any = None
        self.vocabulary: Any = None

    def __enter__(self) -> Turn:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_turns: weakref.WeakKeyDictionary[nn.Module, Turn] = weakref.WeakKeyDictionary()
_turns_lock = threading.Lock()


def turn_of(model: nn.Module) -> Turn:
    """The turn of a model, the same at every call. It is no part of the model, which can be copied and pickled."""
    with _turns_lock:
        return _turns.setdefault(model, Turn())


class _Last(Generic[T]):
    """See :func:`keep_last`."""

    def __init__(self, make: Callable[..., T]) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._lock = threading.Lock()
        self._kept: tuple[tuple[Any, ...], T] | None = None

    def __call__(self, *key: Any) -> T:
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = None  # two models need not fit into memory
                self._kept = (key, self._make(*key))
            return self._kept[1]

    def cache_clear(self) -> None:
        """Forget what was made."""
        with self._lock:
            self._kept = None


def keep_last(make: Callable[..., T]) -> _Last[T]:
    """Keep what a function made last, for calls with equal arguments.

    Unlike ``functools.lru_cache`` it makes one for all threads that ask at the same time.
    """
    return _Last(make)
