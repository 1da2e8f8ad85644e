"""A server around a tiny model, asked without a network."""

from __future__ import annotations

import io

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image
from starlette.testclient import TestClient
from tiny_open_vocab import tiny_open_vocab

from denseclip.apis import Inferencer
from denseclip.serving import Limits, Service, make_app

STEPS = [dict(type='Resize', scale=(128, 64), keep_ratio=True), dict(type='PackSegInputs')]


def png(width=90, height=60, seed=0, kind='PNG'):
    """The file of a colourful picture."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8))
    out = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope='session')
def picture_file():
    """See :func:`png`."""
    return png


@pytest.fixture(scope='session')
def inferencer():
    """A model that takes any words."""
    init_default_scope('mmseg')
    return Inferencer.from_model(tiny_open_vocab(), STEPS)


@pytest.fixture
def client_of(inferencer):
    """Start a server with some limits."""
    clients = []

    def make(token=None, model=None, **limits):
        app = make_app(Service(model or inferencer, 'tiny', Limits(**limits)), token=token)
        clients.append(TestClient(app, raise_server_exceptions=False))
        return clients[-1].__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(client_of):
    """A server with small limits."""
    return client_of(megabytes=0.2, megapixels=0.1, words=20)
