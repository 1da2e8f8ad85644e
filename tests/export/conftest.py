"""The bundled model, exported once."""

from __future__ import annotations

import pytest

from denseclip.apis import Inferencer
from denseclip.export import export


@pytest.fixture(scope='session')
def bundled():
    """The bundled model in PyTorch."""
    return Inferencer(device='cpu')


@pytest.fixture(scope='session')
def exported(bundled, tmp_path_factory):
    """Folder of its export with free words."""
    return export(bundled, tmp_path_factory.mktemp('exported'))


@pytest.fixture
def inferencer_of():
    """An inferencer around a model of a class, which is never run."""

    def make(kind):
        found = Inferencer.__new__(Inferencer)
        found.model = kind.__new__(kind)
        return found

    return make
