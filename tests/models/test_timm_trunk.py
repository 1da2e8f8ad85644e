"""TimmTrunk: stages, freezing, and strict loading of complete networks."""

import pytest
import timm
import torch
from torch import nn

from denseclip.models.backbones import TimmTrunk
from denseclip.weights import WeightMismatchError, write_safetensors

SMALL = dict(model_name='convnext_atto', out_indices=(0, 1, 2, 3), depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


def small(**kwargs):
    return TimmTrunk(**{**SMALL, **kwargs})


@pytest.mark.parametrize('channels_last', [False, True])
def test_stages_have_the_announced_channels_and_strides(channels_last):
    trunk = small(channels_last=channels_last)
    features = trunk(torch.randn(2, 3, 64, 96))
    assert [f.shape[1] for f in features] == trunk.out_channels == [8, 16, 24, 32]
    assert [64 // f.shape[2] for f in features] == list(trunk.strides) == [4, 8, 16, 32]


def test_channels_last_changes_no_number():
    plain, fast = small().eval(), small(channels_last=True).eval()
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 64, 64)
    for one, other in zip(plain(x), fast(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_classifier_is_pruned():
    assert not [key for key in small().state_dict() if 'head.fc' in key]


def test_loads_a_complete_network_strictly(tmp_path):
    complete = timm.create_model('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    file = write_safetensors(complete.state_dict(), tmp_path / 'trunk.safetensors')
    trunk = small(pretrained=str(file))
    trunk.init_weights()
    assert torch.equal(trunk.trunk.stem[0].weight, complete.stem[0].weight)
    state = dict(complete.state_dict())
    state['stem.0.other'] = state.pop('stem.0.weight')
    broken = write_safetensors(state, tmp_path / 'broken.safetensors')
    with pytest.raises(WeightMismatchError, match='stem.0.weight'):
        small(pretrained=dict(source=str(broken))).init_weights()


def test_weights_are_loaded_once_only(tmp_path):
    complete = timm.create_model('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    file = write_safetensors(complete.state_dict(), tmp_path / 'trunk.safetensors')
    trunk = small(pretrained=str(file))
    trunk.init_weights()
    with torch.no_grad():
        trunk.trunk.stem[0].weight.zero_()
    trunk.init_weights()
    assert not trunk.trunk.stem[0].weight.any()


@pytest.mark.parametrize(
    ('model_name', 'frozen', 'expected'),
    [
        ('resnet18', 0, {'conv1', 'bn1'}),
        ('resnet18', 1, {'conv1', 'bn1', 'layer1'}),
        ('tf_efficientnet_lite0', 1, {'conv_stem', 'bn1', 'blocks.0', 'blocks.1'}),
    ],
)
def test_frozen_stages(model_name, frozen, expected):
    trunk = TimmTrunk(model_name, frozen_stages=frozen).train()
    still = [name.removeprefix('trunk.') for name, p in trunk.named_parameters() if not p.requires_grad]
    depth = {
        name: name.split('.')[0] if not name.startswith('blocks') else '.'.join(name.split('.')[:2]) for name in still
    }
    assert set(depth.values()) == expected
    norms = {name: m for name, m in trunk.trunk.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(m.training != name.startswith(tuple(expected)) for name, m in norms.items())


def test_norm_eval_keeps_statistics():
    trunk = TimmTrunk('resnet18', norm_eval=True).train()
    before = trunk.trunk.bn1.running_mean.clone()
    trunk(torch.randn(2, 3, 64, 64) + 5)
    assert torch.equal(trunk.trunk.bn1.running_mean, before)


def test_wrong_levels_are_named():
    with pytest.raises(ValueError, match=r'levels 0\.\.3.*out_indices=\[1, 7\]'):
        small(out_indices=(1, 7))


def test_normalisation_comes_from_timm_unless_given():
    assert small().preprocess.as_255()['mean'] == pytest.approx([123.675, 116.28, 103.53])
    given = small(normalization=([127.0] * 3, [128.0] * 3))
    assert given.preprocess.as_255() == {'mean': pytest.approx([127.0] * 3), 'std': pytest.approx([128.0] * 3)}
