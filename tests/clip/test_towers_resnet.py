"""The dense ResNet tower."""

import pytest
import torch

from denseclip.clip.towers import DenseReadOut, ResNetTower, build_resnet


@pytest.fixture
def visual():
    torch.manual_seed(0)
    return build_resnet([1, 2, 1, 1], width=8, embed_dim=12, image_size=64).eval()


def test_pooled_equals_open_clip(visual):
    x = torch.randn(2, 3, 64, 64)
    assert torch.allclose(ResNetTower(visual)(x).pooled, visual(x), atol=1e-5)


def test_stages(visual):
    tower = ResNetTower(visual)
    out = tower(torch.randn(1, 3, 64, 96))
    assert tower.stage_channels == (32, 64, 128, 256) == tuple(s.shape[1] for s in out.stages)
    assert [s.shape[-2:] for s in out.stages] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert tower.stage_strides == (4, 8, 16, 32)
    assert out.dense.shape == (1, 12, 2, 3) and tower.embed_dim == 12


@pytest.mark.parametrize('size', [(33, 70), (32, 32), (97, 41)])
def test_odd_sizes(visual, size):
    out = ResNetTower(visual)(torch.randn(1, 3, *size))
    assert out.dense.shape[-2:] == out.stages[-1].shape[-2:]


def test_chosen_stages_only(visual):
    tower = ResNetTower(visual, DenseReadOut(out_indices=(1, 2), dense=False, pooled=False))
    calls = []
    visual.layer4.register_forward_hook(lambda *_: calls.append(1))
    out = tower(torch.randn(1, 3, 64, 64))
    assert [s.shape[1] for s in out.stages] == [64, 128]
    assert out.dense is None and out.pooled is None
    assert not calls, 'the last stage ran for nothing'


def test_value_read_out_ignores_other_pixels(visual):
    tower = ResNetTower(visual, DenseReadOut(attention='value'))
    x = torch.randn(1, 3, 64, 64)
    out = tower(x)
    assert torch.allclose(out.pooled, visual(x), atol=1e-5)
    assert out.dense.shape == (1, 12, 2, 2)
    assert not torch.allclose(out.dense, ResNetTower(visual)(x).dense, atol=1e-3)


def test_state_dict_names_are_open_clips(visual):
    assert set(ResNetTower(visual).state_dict()) == {f'visual.{k}' for k in visual.state_dict()}


def test_without_attention_pool():
    visual = build_resnet([1, 1, 1, 1], width=8, attention_pool=False)
    assert not any(k.startswith('attnpool') for k in visual.state_dict())
    with pytest.raises(ValueError, match='no attention pool'):
        ResNetTower(visual)
    tower = ResNetTower(visual, DenseReadOut(dense=False, pooled=False))
    assert len(tower.eval()(torch.randn(1, 3, 32, 32)).stages) == 4


def test_heads_follow_clips_rule_or_the_caller():
    assert build_resnet([1, 1, 1, 1], width=32, embed_dim=4).attnpool.num_heads == 16
    assert build_resnet([1, 1, 1, 1], width=8, embed_dim=4, heads=32).attnpool.num_heads == 32


@pytest.mark.parametrize('indices', [(0, 4), (1, 1), (2, 0), (-1,)])
def test_bad_stages(visual, indices):
    with pytest.raises(ValueError, match='give rising numbers from 0 to 3'):
        ResNetTower(visual, DenseReadOut(out_indices=indices))


@pytest.mark.parametrize(
    'field', [{'attention': 'kv'}, {'attention': 'qq+qq'}, {'pos_resize': 'nearest'}, {'keys': 'soft'}]
)
def test_unknown_settings(field):
    with pytest.raises(ValueError, match='is unknown; choose from'):
        DenseReadOut(**field)


@pytest.mark.parametrize('field', [{'attention': 'kk'}, {'gaussian': 5.0}, {'ffn_inputs': (-1,)}])
def test_settings_of_transformers_are_refused(visual, field):
    with pytest.raises(ValueError, match='ResNetTower is read as trained'):
        ResNetTower(visual, DenseReadOut(**field))
