"""Weights that a file replaces are not drawn."""

import pytest
import torch
from torch import nn

from denseclip.apis.inferencer import Inferencer
from denseclip.weights import Uninitialised


class Drawn(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.conv, self.words = nn.Linear(3, 4), nn.Conv2d(3, 4, 3), nn.Embedding(5, 6, padding_idx=0)
        self.rows = nn.Parameter(torch.randn(2, 2))
        self.norm = nn.BatchNorm2d(3)
        nn.init.constant_(tensor=self.conv.weight, val=3.0)
        self.cut = nn.Parameter(nn.init.trunc_normal_(torch.empty(3, 4), std=0.02))
        self.narrow = nn.Parameter(nn.init.trunc_normal_(torch.empty(3, 4), std=2.0, a=0.9, b=1.0))


@pytest.fixture
def filled():
    """New memory is filled with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)


def test_weights_are_as_allocated(filled):
    with Uninitialised():
        model = Drawn()
    assert model.linear.weight.isnan().all() and model.conv.weight.isnan().all()
    assert model.linear.weight.requires_grad and not model.rows.isnan().any()
    assert model.cut.abs().max() <= 2.0, 'numbers in a range are drawn until they are: no step of that is left out'
    assert model.narrow.min() >= 0.9 and model.narrow.max() <= 1.0


def test_draws_as_ever_afterwards():
    with Uninitialised():
        Drawn()
    torch.manual_seed(0)
    one = Drawn().state_dict()
    torch.manual_seed(0)
    assert all(torch.equal(value, one[name]) for name, value in Drawn().state_dict().items())
    assert not one['words.weight'][1:].isnan().any() and one['words.weight'][0].eq(0).all()


def test_the_random_state_is_left_alone():
    torch.manual_seed(3)
    with Uninitialised():
        nn.Linear(3, 4)
    value = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(value, torch.rand(1))


def test_the_bundled_model_loads_all_its_weights(filled):
    state = Inferencer().model.state_dict()
    assert state and not [name for name, value in state.items() if value.is_floating_point() and value.isnan().any()]
