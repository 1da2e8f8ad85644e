"""Every golden fixture against our public modules, loaded through the public converters.

``GOLDEN_DIR`` points at another set of fixtures of the same kinds; nothing here knows the numbers of one fixture.
"""

import importlib
import pkgutil

import parity
import pytest
from parity.fixtures import discover
from parity.registry import CHECKS, NOT_BUILT, is_of_kind, status

for module in pkgutil.iter_modules(parity.__path__):
    importlib.import_module(f'parity.{module.name}')  # they register their checks

FIXTURES = discover()


@pytest.mark.parametrize('fixture', FIXTURES, ids=lambda f: f.id)
def test_fixture(fixture):
    check, reason = status(fixture)
    if check is None:
        pytest.skip(reason)
    check(fixture)
    assert not fixture.forgotten(), f'{fixture.id}: never compared: {fixture.forgotten()}'


def test_fixtures_are_found():
    assert FIXTURES


def test_nothing_is_both_checked_and_listed_as_not_built():
    clashes = [(c, n) for c in CHECKS for n in NOT_BUILT if c[0] == n[0] and is_of_kind(c[1], n[1])]
    assert not clashes, f'these kinds are checked, so take them off NOT_BUILT: {clashes}'
