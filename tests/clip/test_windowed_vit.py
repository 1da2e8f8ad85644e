"""Windowed attention of the vision transformer."""

import pytest
import torch

from denseclip.clip.blocks import self_attention
from denseclip.clip.towers import DenseReadOut, ViTTower, build_vit
from denseclip.clip.towers.windowed_vit import WindowedViTTower, from_windows, to_windows, window_attention


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def attention(width=8, heads=2):
    attn = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    torch.nn.init.normal_(attn.in_proj_bias)
    return attn


def visual(layers=4):
    return build_vit(image_size=64, patch_size=16, width=16, layers=layers, heads=2, embed_dim=8)


@pytest.mark.parametrize('grid', [(4, 6), (5, 7), (1, 2), (2, 9)])
def test_there_and_back(grid):
    x = torch.randn(3, 2, grid[0] * grid[1], 5)
    windows = to_windows(x, grid, 2)
    assert windows.shape[1:] == (2, 4, 5)
    assert torch.equal(from_windows(windows, grid, 2), x)


@pytest.mark.parametrize('grid', [(4, 6), (5, 7)])
@torch.no_grad()
def test_a_token_sees_its_window_and_the_class_token(grid):
    attn, x = attention(), torch.randn(2, 1 + grid[0] * grid[1], 8)
    found = window_attention(attn, x, grid, 3)
    torch.testing.assert_close(found[:, :1], self_attention(attn, x)[:, :1])
    place = torch.arange(grid[0] * grid[1])
    window = place // grid[1] // 3 * 100 + place % grid[1] // 3
    for number in window.unique():
        rows = torch.cat([torch.tensor([0]), 1 + place[window == number]])
        torch.testing.assert_close(found[:, rows[1:]], self_attention(attn, x[:, rows])[:, 1:])


@torch.no_grad()
def test_one_window_over_all_is_ordinary_attention():
    attn, x = attention(), torch.randn(2, 1 + 12, 8)
    torch.testing.assert_close(window_attention(attn, x, (3, 4), 4), self_attention(attn, x))


@torch.no_grad()
def test_a_tower_with_global_blocks_only_is_the_ordinary_tower():
    trunk, how, images = visual(), DenseReadOut(out_indices=(0, 3)), torch.randn(1, 3, 64, 96)
    plain = ViTTower(trunk, how).eval()(images)
    same = WindowedViTTower(trunk, how, window_size=2, global_blocks=range(4)).eval()(images)
    other = WindowedViTTower(trunk, how, window_size=2, global_blocks=[3]).eval()(images)
    assert torch.equal(plain.dense, same.dense) and torch.equal(plain.pooled, same.pooled)
    assert not torch.allclose(plain.dense, other.dense)
    assert other.dense.shape == plain.dense.shape and other.stages[0].shape == plain.stages[0].shape


def test_recomputing_blocks_changes_no_gradient():
    tower = WindowedViTTower(visual(), window_size=2, global_blocks=[1], drop_path_rate=0.0)
    images, gradients = torch.randn(2, 3, 80, 64), []
    for recompute in (False, True):
        tower.grad_checkpointing = recompute
        tower.zero_grad()
        tower(images).dense.square().sum().backward()
        gradients.append(tower.visual.conv1.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_four_global_blocks_by_default():
    assert WindowedViTTower(visual(8)).global_blocks == {1, 3, 5, 7}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(window_size=0), 'at least 1'),
        (dict(global_blocks=[4]), r'blocks 0\.\.3'),
        (dict(read_out=DenseReadOut(attention='value')), 'as trained'),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowedViTTower(visual(), **arguments)
