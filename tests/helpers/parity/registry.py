"""Which kinds of fixtures are checked by which function, and which wait for their method."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .fixtures import Fixture

Check = Callable[[Fixture], None]

CHECKS: dict[tuple[str, str], Check] = {}

NOT_BUILT: dict[tuple[str, str], str] = {}
"""Kinds without a check, each with the reason; ``'*'`` stands for all kinds of a method. Shrinks to nothing."""


def consumes(method: str, *kinds: str) -> Callable[[Check], Check]:
    """Make a function the check of all fixtures of the given kinds."""

    def add(check: Check) -> Check:
        for kind in kinds:
            assert (method, kind) not in CHECKS, f'two checks for {method}/{kind}'
            CHECKS[method, kind] = check
        return check

    return add


def is_of_kind(name: str, kind: str) -> bool:
    """A fixture's name is its kind, or the kind followed by ``_`` and anything."""
    return kind == '*' or name == kind or name.startswith(f'{kind}_')


def kind_of(fixture: Fixture, kinds: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The longest of ``kinds`` that a fixture belongs to."""
    fitting = [k for k in kinds if k[0] == fixture.method and is_of_kind(fixture.name, k[1])]
    return max(fitting, key=lambda k: len(k[1].strip('*')), default=None)


def status(fixture: Fixture) -> tuple[Check | None, str | None]:
    """The check of a fixture, or the reason why it waits.

    Raises:
        AssertionError: If there is neither, or both.
    """
    check, waiting = kind_of(fixture, CHECKS), kind_of(fixture, NOT_BUILT)
    assert check or waiting, f'{fixture.id} is neither checked nor listed in NOT_BUILT: write its check'
    if check and waiting and len(waiting[1]) > len(check[1]):
        check = None
    assert not (check and waiting), f'{fixture.id} is checked as {check}, so take {waiting} off NOT_BUILT'
    return (CHECKS[check], None) if check else (None, NOT_BUILT[waiting])  # type: ignore[index]
