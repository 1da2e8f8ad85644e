"""The dense vision transformer."""

import open_clip
import pytest
import torch

from denseclip.clip.towers import DenseReadOut, ViTTower, build_vit

MASKCLIP = {'attention': 'value', 'residual': False, 'ffn': False}


@pytest.fixture
def visual():
    torch.manual_seed(0)
    return build_vit(image_size=32, patch_size=8, width=24, layers=4, heads=3, embed_dim=12).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 48)


@pytest.mark.parametrize('change', [{}, {'pool_type': 'avg'}, {'final_ln_after_pool': True}, {'no_ln_pre': True}])
def test_pooled_equals_open_clip(change):
    torch.manual_seed(0)
    config = {'layers': 2, 'width': 16, 'patch_size': 8, 'image_size': 32, 'head_width': 8, **change}
    text = {'width': 8, 'heads': 1, 'layers': 1}
    visual = open_clip.CLIP(12, config, text).visual.eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ViTTower(visual)(x).pooled, visual(x), atol=1e-5)


@pytest.mark.parametrize('change', [{}, {'pool_type': 'avg'}, {'final_ln_after_pool': True}, {'ls_init_value': 0.3}])
def test_the_class_token_alone_gives_the_same_embedding(change):
    """The last block runs for one token there; keys and values are never made."""
    torch.manual_seed(0)
    config = {'layers': 3, 'width': 16, 'patch_size': 8, 'image_size': 32, 'head_width': 8, **change}
    visual = open_clip.CLIP(12, config, {'width': 8, 'heads': 1, 'layers': 1}).visual.eval()
    for parameter in visual.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, 32, 32)
    tower = ViTTower(visual, DenseReadOut(dense=False))
    torch.testing.assert_close(tower(x).pooled, visual(x), atol=1e-5, rtol=1e-5)
    tokens, _ = tower.embed(x)
    torch.testing.assert_close(tower.pooled_of_tokens(tokens), visual(x), atol=1e-5, rtol=1e-5)
    taps = ViTTower(visual, DenseReadOut(dense=False, out_indices=(2,)))(x)
    torch.testing.assert_close(taps.pooled, visual(x), atol=1e-5, rtol=1e-5)
    assert taps.stages[0].shape == (2, 16, 4, 4)


def test_inside_stops_where_nothing_more_is_asked_for(visual, images):
    tower = ViTTower(visual, DenseReadOut(attention='value', ffn_inputs=(-3,), keys='raw'))
    runs = [[] for _ in visual.transformer.resblocks]
    for block, calls in zip(visual.transformer.resblocks, runs, strict=True):
        block.mlp.register_forward_hook(lambda *_, calls=calls: calls.append(1))
    out = tower.inside(images)
    assert out.dense is None and out.pooled is None and out.keys is None
    assert [len(calls) for calls in runs] == [1, 0, 0, 0]  # that of block 1 would follow what is asked for
    assert torch.equal(out.ffn_inputs[0], tower(images).ffn_inputs[0])


def test_stages_are_taps_after_blocks(visual, images):
    tower = ViTTower(visual, DenseReadOut(out_indices=(0, 3)))
    out = tower(images)
    assert [s.shape for s in out.stages] == [(2, 24, 4, 6)] * 2
    assert tower.stage_channels == (24, 24) and tower.stage_strides == (8, 8)
    assert out.dense.shape == (2, 12, 4, 6) and tower.embed_dim == 12
    # The dense read-out as trained is ln_post and projection of the last tap.
    projected = visual.ln_post(out.stages[1].flatten(2).transpose(1, 2)) @ visual.proj
    assert torch.allclose(out.dense.flatten(2).transpose(1, 2), projected, atol=1e-5)


@pytest.mark.parametrize(('size', 'grid'), [((8, 8), (1, 1)), ((37, 70), (4, 8)), ((64, 16), (8, 2))])
def test_any_size(visual, size, grid):
    assert ViTTower(visual)(torch.randn(1, 3, *size)).dense.shape[-2:] == grid


def test_picture_smaller_than_a_patch(visual):
    with pytest.raises(ValueError, match='smaller than one patch'):
        ViTTower(visual)(torch.randn(1, 3, 5, 32))


@pytest.mark.parametrize('layers', [1, 2, 4])
def test_fork_leaves_the_trained_path_alone(visual, images, layers):
    """Whatever else is asked for, each output is the same."""
    full = ViTTower(visual, DenseReadOut(out_indices=(0, 2, 3), layers=layers, **MASKCLIP))(images)
    lone = ViTTower(visual, DenseReadOut(pooled=False, layers=layers, **MASKCLIP))(images)
    plain = ViTTower(visual, DenseReadOut(out_indices=(0, 2, 3)))(images)
    assert torch.equal(full.dense, lone.dense)
    assert torch.equal(full.pooled, plain.pooled)
    assert all(torch.equal(a, b) for a, b in zip(full.stages, plain.stages, strict=True))
    assert not torch.allclose(full.dense, plain.dense, atol=1e-3)


def test_value_read_out_by_hand(visual, images):
    out = ViTTower(visual, DenseReadOut(out_indices=(2,), **MASKCLIP))(images)
    block = visual.transformer.resblocks[3]
    tokens = out.stages[0].flatten(2).transpose(1, 2)
    value = block.ln_1(tokens) @ block.attn.in_proj_weight[48:].T + block.attn.in_proj_bias[48:]
    expected = visual.ln_post(block.attn.out_proj(value)) @ visual.proj
    assert torch.allclose(out.dense.flatten(2).transpose(1, 2), expected, atol=1e-5)


def test_stages_alone_stop_early(visual, images):
    calls = []
    visual.transformer.resblocks[2].ln_1.register_forward_hook(lambda *_: calls.append(1))
    out = ViTTower(visual, DenseReadOut(out_indices=(0, 1), dense=False, pooled=False))(images)
    assert len(out.stages) == 2 and not calls


def test_double_class_embedding_is_an_option(visual, images):
    once = ViTTower(visual)(images)
    twice = ViTTower(visual, DenseReadOut(double_class_embedding=True))(images)
    assert not torch.allclose(once.pooled, twice.pooled, atol=1e-4)
    visual.class_embedding.data.zero_()
    assert torch.equal(
        ViTTower(visual)(images).pooled, ViTTower(visual, DenseReadOut(double_class_embedding=True))(images).pooled
    )


def test_without_projection(images):
    visual = build_vit(image_size=32, patch_size=8, width=24, layers=2, heads=3, projection=False)
    assert not {'proj', 'ln_post.weight'} & set(visual.state_dict())
    tower = ViTTower(visual, DenseReadOut(out_indices=(1,), dense=False, pooled=False))
    assert tower(images).stages[0].shape == (2, 24, 4, 6)


def test_drop_path_acts_in_training_only(visual, images):
    tower = ViTTower(visual, drop_path_rate=0.9)
    plain = ViTTower(visual)(images).dense
    assert torch.equal(tower(images).dense, plain)
    assert tower.drop_rates[0] == 0 and tower.drop_rates[-1] == pytest.approx(0.9)
    tower.train()
    assert not torch.allclose(tower(images).dense, plain, atol=1e-3)


def test_checkpointing_gives_the_same_gradients(visual, images):
    gradients = []
    for active in (False, True):
        tower = ViTTower(visual)
        tower.grad_checkpointing = active
        visual.zero_grad()
        tower(images).dense.square().sum().backward()
        gradients.append(visual.conv1.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('width', [16, 8])
def test_a_pixel_is_the_attentional_poolers_answer_to_it_alone(width):
    """CoCa; its pooler keeps one weight for keys and values of its own width, two for others."""
    torch.manual_seed(0)
    config = {'layers': 2, 'width': width, 'patch_size': 8, 'image_size': 32, 'head_width': 8, 'attentional_pool': True}
    visual = open_clip.CLIP(8, config, {'width': 8, 'heads': 1, 'layers': 1}).visual.eval()
    for parameter in visual.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 3, 32, 32)
    out = ViTTower(visual)(x)
    assert torch.allclose(out.pooled, visual(x), atol=1e-5)
    tokens = visual.transformer(visual._embeds(x))
    alone = visual._pool(tokens[:, 6:7])[0] @ visual.proj
    torch.testing.assert_close(out.dense.flatten(2)[..., 5], alone, atol=1e-5, rtol=1e-5)
    value = ViTTower(visual, DenseReadOut(attention='value'))(torch.randn(1, 3, 24, 40))
    assert value.dense.shape == (1, 8, 3, 5) and value.unprojected.shape == (1, 8, 3, 5)


def test_two_attentional_poolers_have_no_pixels():
    config = {'layers': 1, 'width': 16, 'patch_size': 8, 'image_size': 32, 'head_width': 8}
    config['attentional_pool'] = 'parallel'
    visual = open_clip.CLIP(16, config, {'width': 8, 'heads': 1, 'layers': 1}).visual.eval()
    with pytest.raises(ValueError, match='two attentional poolers'):
        ViTTower(visual)


def test_too_many_layers(visual):
    with pytest.raises(ValueError, match='this tower has 4 blocks'):
        ViTTower(visual, DenseReadOut(layers=5))
