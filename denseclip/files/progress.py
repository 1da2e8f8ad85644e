"""How long work says how far it is, without knowing how that is shown."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with how much is done, and how much there is; None where that is not known yet."""


def after_each(progress: Progress | None, total: int | None) -> Callable[[], None] | None:
    """What to call after each piece of some work; None where nobody wants to know.

    Args:
        progress: Is told.
        total: Number of pieces.
    """
    if progress is None:
        return None
    done, tell = count(1), progress
    return lambda: tell(next(done), total)
