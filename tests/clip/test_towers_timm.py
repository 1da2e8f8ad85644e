"""timm trunks inside open_clip: ConvNeXt, SigLIP, EVA and others."""

import pytest
import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent

from denseclip.clip.attention import Guide
from denseclip.clip.towers import ConvTrunkTower, DenseReadOut, TimmViTTower, build_image_tower, build_resnet, build_vit
from denseclip.clip.towers.timm_vit import latent_values

CONV = [{'pool': '', 'proj': 'linear'}, {'pool': '', 'proj': 'mlp'}]
VIT = [{'pool': 'map', 'proj': 'none'}, {'pool': 'token', 'proj': None}, {'pool': 'avg', 'proj': 'linear'}]


def trunk(name, **options):
    torch.manual_seed(0)
    model = TimmModel(name, embed_dim=64, pretrained=False, **options).eval()
    for parameter in model.parameters():  # several norms and scales start at 0 or 1, which would hide mistakes
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(('name', 'options'), [('test_convnext', o) for o in CONV] + [('test_vit', o) for o in VIT])
def test_pooled_equals_open_clip(name, options):
    visual = trunk(name, **options)
    x = torch.randn(2, 3, 160, 160)
    tower = build_image_tower(visual)
    out = tower(x)
    assert torch.allclose(out.pooled, visual(x), atol=1e-5)
    assert out.dense.shape[1] == tower.embed_dim == 64


@pytest.mark.parametrize('options', CONV)
def test_convnext_pixel_is_the_pooled_answer_of_that_pixel(options):
    visual = trunk('test_convnext', **options)
    tower = ConvTrunkTower(visual)
    out = tower(torch.randn(1, 3, 96, 64))
    pixel = out.stages[-1][:, :, 1:2, 0:1]  # a one-pixel picture of the last stage
    expected = visual.head(visual.trunk.forward_head(visual.trunk.norm_pre(pixel)))
    assert torch.allclose(out.dense[:, :, 1, 0], expected, atol=1e-5)
    assert tower.stage_strides == (4, 8, 16, 32)
    assert tuple(s.shape[1] for s in out.stages) == tower.stage_channels


@pytest.mark.slow
def test_swin_keeps_channels_last():
    visual = trunk('swin_tiny_patch4_window7_224', pool='', proj='linear')
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        out = ConvTrunkTower(visual)(x)
        assert torch.allclose(out.pooled, visual(x), atol=1e-5)
    # The head is linear, so the mean of its pixels is its answer to the mean pixel.
    assert torch.allclose(out.dense.mean((2, 3)), out.pooled, atol=1e-4)


def test_vit_any_size_and_taps():
    tower = TimmViTTower(trunk('test_vit', **VIT[0]), DenseReadOut(out_indices=(0, 2)))
    out = tower(torch.randn(1, 3, 96, 176))
    assert [s.shape for s in out.stages] == [(1, 64, 6, 11)] * 2
    assert out.dense.shape == (1, 64, 6, 11)
    stages_only = TimmViTTower(tower.visual, DenseReadOut(out_indices=(0,), dense=False, pooled=False))
    assert torch.equal(stages_only(torch.ones(1, 3, 32, 32)).stages[0], tower(torch.ones(1, 3, 32, 32)).stages[0])


def test_siglip_token_read_out_is_the_pool_on_one_token():
    torch.manual_seed(0)
    pool = AttentionPoolLatent(16, num_heads=4, norm_layer=torch.nn.LayerNorm).eval()
    tokens = torch.randn(2, 5, 16)
    values = latent_values(pool, tokens)
    for i in range(5):
        assert torch.allclose(values[:, i], pool(tokens[:, i : i + 1]), atol=1e-5)


def test_what_trunks_cannot_do_is_refused():
    visual = trunk('test_vit', **VIT[1])
    assert TimmViTTower(visual, DenseReadOut(attention='value'))(torch.ones(1, 3, 32, 32)).dense.shape[1] == 64
    for wrong, words in (
        (dict(weights_from=(-1,)), 'neither keys, nor ffn_inputs, nor weights_from'),
        (dict(attention='qq', layers=99), 'blocks'),
    ):
        with pytest.raises(ValueError, match=words):
            TimmViTTower(visual, DenseReadOut(**wrong))
    pooled = TimmViTTower(trunk('test_vit', **VIT[0]), DenseReadOut(attention='value'))
    with pytest.raises(ValueError, match='takes no guide'):
        pooled(torch.ones(1, 3, 32, 32), Guide())
    with pytest.raises(ValueError, match="value path of this VisionTransformer trunk's pool"):
        TimmViTTower(pooled.visual, DenseReadOut(attention='value', residual=False, ffn=False))


def test_builder_knows_every_kind():
    assert type(build_image_tower(build_resnet([1, 1, 1, 1], width=8, embed_dim=4))).__name__ == 'ResNetTower'
    vit = build_image_tower(build_vit(image_size=16, patch_size=8, width=8, layers=1, heads=1), drop_path_rate=0.1)
    assert type(vit).__name__ == 'ViTTower'
    with pytest.raises(ValueError, match='no dense read-out for Linear'):
        build_image_tower(torch.nn.Linear(1, 1))


def test_siglip_is_read_by_the_value_path_of_its_pool():
    visual, x = trunk('test_vit', pool='map', proj=None), torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        value = TimmViTTower(visual, DenseReadOut(attention='value'))(x).dense
        assert torch.equal(value, TimmViTTower(visual, DenseReadOut())(x).dense)
    with pytest.raises(ValueError, match='residual=ffn=True'):
        TimmViTTower(visual, DenseReadOut(attention='value', ffn=False))
