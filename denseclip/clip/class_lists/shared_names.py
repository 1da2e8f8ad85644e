"""Names that a list gives to several classes, as published lists of synonyms do: which class keeps which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .structure import Group


def own_names(groups: Sequence[Group]) -> tuple[tuple[Group, ...], list[str]]:
    """Give every name to one class.

    A class keeps its first name, unless several begin with it: then those that have others take their next free one. A
    further name that is the first of another class, or was given to one before, is left out.

    Args:
        groups: First and further names of the classes.

    Returns:
        The classes, and what was changed, as sentences. A class all of whose names are taken is left as it is.
    """
    cleaned = [_once(first, *more) for first, more in groups]
    first = _first_names(cleaned)
    taken = {name.casefold() for name in first}
    kept: list[Group] = []
    left: list[str] = []
    for name, names in zip(first, cleaned, strict=True):
        more = []
        for other in names:
            key = other.casefold()
            if key == name.casefold():
                continue
            if key in taken and other:
                left.append(f'{other} ({name})')
                continue
            taken.add(key)
            more.append(other)
        kept.append((name, tuple(more)))
    changed = [f'{new} (for {names[0]})' for new, names in zip(first, cleaned, strict=True) if new != names[0]]
    notes = [f'names that several classes begin with are replaced: {_some(changed)}.'] if changed else []
    if left:
        notes.append(f'names that belong to another class, too, are left out: {_some(left)}.')
    return tuple(kept), notes


def _once(*names: str) -> list[str]:
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(' '.join(name.split()).casefold(), ' '.join(name.split()))
    return list(found.values())


def _first_names(groups: list[list[str]]) -> list[str]:
    count = Counter(names[0].casefold() for names in groups)
    taken = {key for key, number in count.items() if number == 1}
    first = [names[0] for names in groups]
    shared = [k for k, names in enumerate(groups) if count[names[0].casefold()] > 1]
    for k in sorted(shared, key=lambda k: len(groups[k])):
        first[k] = next((name for name in groups[k] if name.casefold() not in taken), first[k])
        taken.add(first[k].casefold())
    return first


def _some(items: Sequence[str]) -> str:
    return ', '.join(items[:8]) + (f' and {len(items) - 8} more' if len(items) > 8 else '')
