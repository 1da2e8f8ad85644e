"""What a class list is, whatever it was written in, and what is common to all kinds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar('T')

Group = tuple[str, tuple[str, ...]]
"""Name of a class and its further names."""

_NO_CLASS = re.compile(r'invalid([ _-]class)?([ _-]id)?', re.IGNORECASE)


class VocabularyError(ValueError):
    """A list of class names that cannot be used as it is.

    Attributes:
        position: Number of the class that is wrong, from 0, where it is a single one.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True)
class ClassList:
    """What a list holds.

    Attributes:
        groups: The classes.
        lines: Line of each in its text, from 1; empty for JSON and YAML.
        notes: How it was read where it could be read otherwise; sentences for people.
        ids: Of the classes, where the list gives them.
    """

    groups: tuple[Group, ...]
    lines: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()


def by_id(rows: list[tuple[int, T]], name: Callable[[T], str]) -> tuple[list[T], list[str], tuple[int, ...]]:
    """Classes in the order of their ids without entries that say that there is no such class, notes, and the ids."""
    if len({number for number, _ in rows}) < len(rows):
        twice = next(number for number, _ in rows if sum(number == other for other, _ in rows) > 1)
        raise VocabularyError(f'the id {twice} stands there twice; give every class its own.')
    rows = sorted(rows, key=lambda row: row[0])
    kept = [(number, item) for number, item in rows if not _NO_CLASS.fullmatch(name(item).strip())]
    left = len(rows) - len(kept)
    note = (
        f'the numbers {rows[0][0]} to {rows[-1][0]} are ids, no names; labels are 0 to {len(kept) - 1} in their order'
    )
    notes = [note + (f', {left} without a class left out.' if left else '.')]
    return [item for _, item in kept], notes, tuple(number for number, _ in kept)


def short(text: str) -> str:
    """Text for a message, not longer than a line."""
    return text if len(text) <= 60 else text[:57] + '...'
