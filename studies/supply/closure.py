"""The distributions that an installation brings, and those that are not installed here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = 'denseclip-suite'
NOT_SHIPPED = ('test', 'docs', 'onedl', 'supply')
"""Extras for work on the suite; ``onedl`` stands in for ``mm`` and never beside it."""


def extras(left_out: tuple[str, ...] = NOT_SHIPPED) -> tuple[str, ...]:
    """Extras of the suite but some."""
    known = metadata.metadata(ROOT).get_all('Provides-Extra') or []
    return tuple(name for name in known if name not in left_out)


def closure(wanted: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """What some extras of the suite bring, the suite left out.

    Args:
        wanted: Names of extras.

    Returns:
        Canonical name to distribution, sorted.

    Raises:
        SystemExit: Some are not installed here, so that nothing is known of them and what they ask for.
    """
    found: dict[str, metadata.Distribution] = {}
    absent: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(f'{ROOT}[{",".join(wanted)}]'), 'this')]
    while todo:
        requirement, asker = todo.pop()
        name = canonicalize_name(requirement.name)
        news = {(name, extra) for extra in ('', *requirement.extras)} - seen
        seen |= news
        try:
            part = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            absent[name] = asker
            continue
        found[name] = part
        todo += [(needed, name) for needed in _needed(part, [extra for _, extra in news])]
    if absent:
        named = ', '.join(f'{name} (for {asker})' for name, asker in sorted(absent.items()))
        raise SystemExit(
            f'not installed here, so nothing is known of it and of what it brings: {named}; '
            "pip install -e '.[mm,test,supply]'"
        )
    found.pop(ROOT, None)
    return dict(sorted(found.items()))


def _needed(part: metadata.Distribution, wanted: list[str]) -> Iterator[Requirement]:
    for line in part.requires or ():
        requirement = Requirement(line)
        if any(requirement.marker is None or requirement.marker.evaluate({'extra': extra}) for extra in wanted):
            yield requirement
