"""Checks of OVRCOAT on FC-CLIP: the correction of "void", panoptic results, the training of CLIP's regions."""

from __future__ import annotations

import torch

from denseclip.models.segmentors import FCCLIP
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .maft_common import synonyms
from .maft_generator import recorded_draws
from .maft_models import build, expect_gradients, expect_predictions, thresholds
from .mask_adapter import training_batch
from .registry import consumes

LOSSES = {'loss_oov_ce': 'loss_region'}


@consumes('ovrcoat', 'ovrcoat')
def check_ovrcoat(fixture: Fixture) -> None:
    config = fixture.config
    shared = dict(alpha=config['alpha'], beta=config['beta'], test_cfg=thresholds(config))
    model = build(
        fixture,
        FCCLIP,
        train_vocabulary=synonyms(config['names']['train']),
        void_trust=config['clip_trust_weight'],
        **shared,
    )
    model.set_class_embeddings(fixture.input('text_classifier'), model.vocabulary)
    with torch.no_grad():
        expect_predictions(fixture, model)
    refinement = dict(weight=config['weights']['oov_weight'], on_probabilities=True)
    check_training(fixture, build(fixture, FCCLIP, 'train', refinement=refinement, **shared).train())


def check_training(fixture: Fixture, model: FCCLIP) -> None:
    """Losses, what CLIP learns from its regions alone, and the norms of all gradients."""
    model.set_class_embeddings(fixture.input('train_rows'), model.vocabulary)
    draws = [fixture.tensors[key] for key in sorted(fixture.tensors) if key.startswith('in.rand.')]
    with recorded_draws(draws):
        losses = model.loss(*training_batch(fixture, model))
    expected = list(fixture.outputs(r'loss\.(\w+)'))
    assert len(losses) == len(expected)
    for match in expected:
        fixture.expect(match.group(), losses[LOSSES.get(match[1], match[1])])
    trained = dict(model.named_parameters())
    for match in fixture.outputs(r'oov_grad\.(.+)'):
        (name,) = convert({match[1]: torch.zeros(())}, 'maft')
        (gradient,) = torch.autograd.grad(losses['loss_region'], [trained[name]], retain_graph=True)
        fixture.expect(match.group(), gradient)
    torch.stack(list(losses.values())).sum().backward()
    expect_gradients(fixture, model)
