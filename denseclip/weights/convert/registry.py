"""The table of converters between other people's weight files and ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Converter:
    """A pair of functions on state dicts.

    Attributes:
        forward: Their names and shapes to ours.
        backward: Ours to theirs, or None when that is of no use.
        description: One line: whose files, which models.
        wrapper: Key under which the authors' own files keep the tensors, for files written for them.
    """

    forward: Callable[..., dict[str, Tensor]]
    backward: Callable[..., dict[str, Tensor]] | None
    description: str
    wrapper: str = 'state_dict'


CONVERTERS: dict[str, Converter] = {}


def register(name: str, converter: Converter) -> None:
    """Add a converter under a new name."""
    if name in CONVERTERS:
        raise KeyError(f"a converter named '{name}' is registered already")
    CONVERTERS[name] = converter


def convert(state: State, name: str, *, inverse: bool = False, **options: Any) -> dict[str, Tensor]:
    """Convert a state dict.

    Args:
        state: Name to tensor.
        name: Which converter, a key of :data:`CONVERTERS`.
        inverse: Ours to theirs.
        **options: Passed to the converter's function.

    Raises:
        KeyError: If there is no such converter; the nearest name is suggested.
        ValueError: If the converter has no way back.
    """
    if name not in CONVERTERS:
        near = difflib.get_close_matches(name, CONVERTERS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(sorted(CONVERTERS))}.'
        raise KeyError(f"unknown converter '{name}'; {hint}")
    converter = CONVERTERS[name]
    function = converter.backward if inverse else converter.forward
    if function is None:
        raise ValueError(f"converter '{name}' works in one direction only ({converter.description}).")
    return function(state, **options)
