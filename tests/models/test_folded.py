"""Batch norms folded into convolutions, for prediction alone."""

import copy
import pickle

import pytest
import torch
from mmcv.cnn import ConvModule
from mmseg.models.necks import FPN
from torch import nn

from denseclip.core.regions import RegionCompiler, run_regions
from denseclip.engine.compute import Compute
from denseclip.models.backbones import TimmTrunk
from denseclip.models.folded import Folding, can_fold
from denseclip.models.heads.pixel_text_head import PixelTextFPNHead


def trained(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of a network that was trained
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.2)
    return network.eval()


@pytest.fixture
def trunk():
    torch.manual_seed(0)
    return trained(TimmTrunk('tf_efficientnet_lite0', out_indices=(1, 3), channels_last=True))


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
    twin = trunk._folding._made[1]
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


def test_filters_are_rounded_once(trunk, picture):
    """Those of a tower that is held in bfloat16, too: first the norms are folded into them."""
    model = nn.Module()
    model.backbone = trunk
    with torch.autocast('cpu', dtype=torch.bfloat16):
        expected = without_gradients(trunk, picture)
    compute = Compute('bf16', layout='channels_last')
    compute.prepare(model)
    with compute.running(model):
        found = without_gradients(trunk, picture)
    assert found[0].dtype == torch.bfloat16
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(p.dtype == torch.float32 for p in trunk.parameters())


def test_other_networks_have_nothing_to_fold():
    assert not can_fold(TimmTrunk('test_convnext2', out_indices=(1,)))


@pytest.fixture
def levels():
    generator = torch.Generator().manual_seed(2)
    sizes = ((24, 17, 32), (40, 9, 16), (112, 5, 8), (320, 3, 4))
    return [torch.randn(2, *size, generator=generator) for size in sizes]


def test_necks_and_heads_of_mmcvs_layers(levels):
    torch.manual_seed(0)
    neck = trained(FPN([24, 40, 112, 320], 32, 4))
    neck.init_weights()
    head = trained(
        PixelTextFPNHead(
            embed_dim=16,
            in_channels=[32] * 4,
            in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32],
            channels=32,
            norm_cfg=dict(type='BN'),
            align_corners=False,
        )
    )
    assert can_fold(neck) and can_fold(head.scale_heads)
    folding = Folding(neck)
    assert folding.of(neck, levels[0]) is neck  # with gradients
    with torch.no_grad():
        plain = neck(levels)
        twin = folding.of(neck, levels[0])
        assert twin is not neck and twin is folding.of(neck, levels[0])
        assert not [m for m in twin.modules() if isinstance(m, ConvModule)]
        found = twin(levels)
        features = head.pixel_features(found)
    assert_same(found, plain)
    assert all(level.is_contiguous(memory_format=torch.channels_last) for level in found)
    with torch.enable_grad():
        assert_same([features], [head.pixel_features([level.clone() for level in plain]).detach()])
    assert head._folding._made is not None


def test_layers_that_do_more_stay_as_they_are(levels):
    reflecting = ConvModule(24, 8, 3, padding=1, padding_mode='reflect')
    layers = nn.Sequential(
        ConvModule(24, 8, 1, norm_cfg=dict(type='GN', num_groups=2)), ConvModule(8, 8, 3, padding=2, dilation=2)
    )
    turned = ConvModule(24, 8, 1, norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act'))
    leaky = ConvModule(24, 8, 1, act_cfg=dict(type='LeakyReLU'))
    assert not any(can_fold(nn.Sequential(part)) for part in (reflecting, layers, turned, leaky))
    assert Folding(layers).of(layers.eval(), levels[0]) is layers


def test_training_and_regions_run_the_network_itself(levels):
    neck = trained(FPN([24, 40, 112, 320], 8, 4))
    folding = Folding(neck)
    with torch.no_grad():
        assert folding.of(neck, levels[0]) is not neck
        neck.train()
        assert folding.of(neck, levels[0]) is neck
        neck.eval()
        # As averages of weights do: no counter of a version says so.
        neck.lateral_convs[0].conv.weight.data.mul_(2)
        assert_same(folding.of(neck, levels[0])(levels), neck(levels))
        run_regions([neck], RegionCompiler('eager'), forward=True)
        assert folding.of(neck, levels[0]) is neck
