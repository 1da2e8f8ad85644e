"""Look into a model while it runs, without hooks that stay behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def find(root: Any, path: str) -> Any:
    """The object at a dotted path below ``root``, or None if any part of it is missing."""
    for name in filter(None, path.split('.')):
        root = getattr(root, name, None)
    return root


@contextmanager
def wrapped(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Replace a method of one object (not of its class) by ``wrap(method)``.

    Forward hooks would miss calls of ``module.forward(...)``, which MMSegmentation's heads are run by.

    Args:
        owner: The object.
        name: The method's name; an object without it is left alone.
        wrap: Makes the replacement.
    """
    method = getattr(owner, name, None)
    if method is None:
        yield
        return
    own = name in vars(owner)
    setattr(owner, name, wrap(method))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, method)
        else:
            delattr(owner, name)
