"""Batch norms folded into convolutions, for prediction alone."""

import copy
import pickle

import pytest
import torch
from torch import nn

from denseclip.models.backbones import TimmTrunk
from denseclip.models.backbones.folded import can_fold


@pytest.fixture
def trunk():
    torch.manual_seed(0)
    trunk = TimmTrunk('tf_efficientnet_lite0', out_indices=(1, 3), channels_last=True)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of a network that was trained
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.2)
    return trunk.eval()


@pytest.fixture
def frozen(trunk):
    trunk.frozen_stages = 1
    return trunk.train()


@pytest.fixture
def picture():
    return torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def plain(trunk, picture):
    """With gradients nothing is folded."""
    return [level.detach() for level in trunk(picture)]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def without_gradients(trunk, picture):
    with torch.inference_mode():
        return [level.clone() for level in trunk(picture)]


@pytest.mark.parametrize('size', [(48, 64), (47, 64), (48, 63), (45, 61), (33, 34)])
def test_pictures_of_any_size(trunk, size):
    picture = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    assert_same(without_gradients(trunk, picture), plain(trunk, picture))


def test_features_are_those_of_the_plain_network(trunk, picture):
    assert_same(without_gradients(trunk, picture), plain(trunk, picture))
    twin = trunk.__dict__['_folded'][1]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert len([m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]) > 30


@pytest.mark.parametrize('change', ['in place', 'statistics', 'load', 'double', 'layout'])
def test_a_change_of_weights_is_seen(trunk, picture, change):
    before = without_gradients(trunk, picture)
    if change == 'in place':
        with torch.no_grad():
            trunk.trunk.conv_stem.weight.mul_(-1)
    elif change == 'statistics':
        trunk.trunk.bn1.running_mean.add_(1)
    elif change == 'load':
        trunk.load_state_dict({k: v * 0.9 if v.is_floating_point() else v for k, v in trunk.state_dict().items()})
    elif change == 'double':
        trunk.double()
        picture = picture.double()
    else:
        trunk.trunk.conv_stem.weight.data = trunk.trunk.conv_stem.weight.data.contiguous()
    after = without_gradients(trunk, picture)
    assert_same(after, plain(trunk, picture))
    if change in ('in place', 'statistics', 'load'):
        assert (after[-1] - before[-1]).abs().max() > 1e-3


def test_training_never_meets_it(trunk, picture):
    names = set(trunk.state_dict())
    without_gradients(trunk, picture)
    assert set(trunk.state_dict()) == names
    trunk.train()
    with torch.no_grad():
        trunk(picture)
    assert trunk.trunk.bn1.num_batches_tracked == 1
    sum(level.sum() for level in trunk(picture)).backward()
    assert trunk.trunk.conv_stem.weight.grad.abs().sum() > 0


def step(trunk, picture):
    """Features and gradients."""
    levels = trunk(picture)
    weights = [p for p in trunk.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(sum(level.square().mean() for level in levels), weights, allow_unused=True)
    return [level.detach() for level in levels], [slope for slope in slopes if slope is not None]


def test_frozen_stages_are_folded_while_the_rest_trains(frozen, picture):
    names, picture = set(frozen.state_dict()), picture.double()  # norms of few pixels enlarge what is rounded
    frozen.double()
    (levels, slopes), _ = step(frozen, picture), step(frozen, picture)
    assert set(frozen._frozen._folded) == {'conv_stem', 'blocks.0', 'blocks.1'}
    assert set(frozen.state_dict()) == names
    assert frozen.trunk.bn1.num_batches_tracked == 0 and frozen.trunk.blocks[2][0].bn1.num_batches_tracked == 2
    frozen._can_fold = False
    others, expected = step(frozen, picture)
    for one, other in zip(levels + slopes, others + expected, strict=True):
        assert float((one - other).abs().max()) <= 1e-7 * float(other.abs().max()) + 1e-12


def test_frozen_stages_are_folded_once_and_again_when_they_change(frozen, picture):
    before = frozen(picture)[0]
    kept = frozen._frozen._folded['conv_stem'][1]
    frozen(picture)
    assert frozen._frozen._folded['conv_stem'][1] is kept
    frozen.trunk.bn1.running_mean.add_(1)
    after = frozen(picture)[0]
    frozen._can_fold = False
    torch.testing.assert_close(after, frozen(picture)[0], rtol=1e-4, atol=1e-4 * float(after.detach().abs().max()))
    assert (after - before).abs().max() > 1e-3


def test_gradients_for_the_picture_pass_frozen_stages(frozen, picture):
    frozen(picture.requires_grad_())[-1].sum().backward()
    assert picture.grad.abs().sum() > 0 and not frozen._frozen._folded


def test_copies_fold_their_own(trunk, picture):
    expected = without_gradients(trunk, picture)
    assert len(pickle.dumps(trunk)) < 1.1 * sum(t.nbytes for t in trunk.state_dict().values()) + 1e6
    for twin in (copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
        assert_same(without_gradients(twin, picture), expected)


def test_other_networks_have_nothing_to_fold():
    assert not can_fold(TimmTrunk('test_convnext2', out_indices=(1,)))
