"""Models that several files look at, exported once."""

from __future__ import annotations

import pytest
from tiny_fcclip import TRUNKS
from tiny_pmp_hosts import awake_host

from denseclip.apis import Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.export import export
from denseclip.runtime import load


@pytest.fixture(scope='session')
def bundled():
    """The bundled model in PyTorch."""
    return Inferencer(device='cpu')


@pytest.fixture(scope='session')
def exported(bundled, tmp_path_factory):
    """Folder of its export with free words."""
    return export(bundled, tmp_path_factory.mktemp('exported'))


@pytest.fixture(scope='session')
def masks():
    """FC-CLIP in all its parts: synonyms, seen and new classes, masks that CLIP has no say for, queries that listen."""
    tiny = awake_host(
        'FCCLIP',
        clip=TRUNKS['convnext'],
        train_vocabulary=['sky', 'vehicle'],
        things=['car', 'tree'],
        ensemble_on_valid_mask=True,
        test_cfg=dict(score_threshold=0.0, overlap_threshold=0.05, topk=12),
    )
    steps = [dict(type='Resize', scale=(160, 96), keep_ratio=True), dict(type='PackSegInputs')]
    found = MaskInferencer.from_model(tiny, steps)
    found.score = 0.0
    return found


@pytest.fixture(scope='session')
def exported_masks(masks, tmp_path_factory):
    """Its export, opened."""
    found = load(export(masks, tmp_path_factory.mktemp('masks')))
    found.score = 0.0
    return found


@pytest.fixture
def inferencer_of():
    """An inferencer around a model of a class, which is never run."""

    def make(kind):
        found = Inferencer.__new__(Inferencer)
        found.model = kind.__new__(kind)
        return found

    return make
