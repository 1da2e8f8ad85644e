"""The measurement of MAFT+ against the authors' order: both sides compute the same."""

from __future__ import annotations

import pytest
import torch
from tiny_fcclip import tiny_fcclip

from denseclip.engine.config import OptionError
from denseclip.models.functional.maft_losses import mask_aware_loss
from studies.benchmark.maft import (
    PARTS,
    authors_order,
    broadcast_mask_aware_loss,
    compare_maft_steps,
    loss_inputs,
    use_random_text,
)


def test_both_orders_have_the_same_loss() -> None:
    model = tiny_fcclip('MAFTPlus', transfer=dict(num_heads=4))
    use_random_text(model, ['sky', 'car', 'road'])
    found = compare_maft_steps(model, size=64, batch=2, segments=3, repeats=1)
    assert found.difference < 1e-5 and set(found.samples) == {'ours', 'reference'} and found.ratio > 0


def test_the_authors_order_runs_the_trunk_twice_and_is_undone() -> None:
    model = tiny_fcclip('MAFTPlus', transfer=dict(num_heads=4))
    passes = []
    model.backbone.tower.register_forward_pre_hook(lambda *_: passes.append(1))
    with authors_order(model, ['second pass']):
        model.backbone(torch.zeros(1, 3, 64, 64))
    model.backbone(torch.zeros(1, 3, 64, 64))
    assert len(passes) == 3


def test_both_forms_of_the_loss_agree() -> None:
    inputs = loss_inputs(segments=5, queries=9, size=64, classes=6)
    torch.testing.assert_close(mask_aware_loss(*inputs), broadcast_mask_aware_loss(*inputs), atol=1e-6, rtol=1e-5)


def test_wrong_use_is_named() -> None:
    with pytest.raises(OptionError, match='MAFTPlus'):
        compare_maft_steps(torch.nn.Identity())
    with pytest.raises(OptionError, match=next(iter(PARTS))), authors_order(None, ['nothing']):
        pass
