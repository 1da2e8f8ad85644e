"""What training code leaves in a checkpoint beside tensors, read as nothing.

Schedules and option lists are objects of classes that a reader of weights has no use for. Here such a class is not
imported: an empty stand-in takes its place, and what the file would give to it is dropped. Nothing of the file runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

_LEFTOVERS = ('torch.optim.', 'dassl.optim.')
"""Packages whose objects are left behind: learning-rate schedules and the optimizers that they refer to."""
_CLASSES = ('argparse.Namespace', 'collections.defaultdict', 'builtins.dict')


class Nothing:
    """Takes anything and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Keep nothing."""

    def __setstate__(self, _: Any) -> None:
        """Keep nothing."""


def _plain_dict(*_: Any) -> dict:
    """An optimizer's table of its state, which the reader fills."""
    return {}


@contextmanager
def leftovers_ignored(path: Path) -> Iterator[bool]:
    """Inside, ``torch.load(weights_only=True)`` reads leftovers of training code in a file as :class:`Nothing`.

    Args:
        path: A PyTorch checkpoint.

    Yields:
        Whether that is all that stands in the way: the file asks for such classes and for no others.
    """
    try:
        wanted = get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, OSError):  # of another format; said when it is read
        wanted = []
    known = bool(wanted) and all(name.startswith(_LEFTOVERS) or name in _CLASSES for name in wanted)
    stand_ins: list[Callable | tuple[Callable, str]] = [
        (_plain_dict if name == 'collections.defaultdict' else Nothing, name) for name in wanted if known
    ]
    with safe_globals(stand_ins):
        yield known
