"""The feed-forward branch of open_clip's blocks."""

import pytest
import torch
from open_clip.transformer import CustomResidualAttentionBlock, QuickGELU, ResidualAttentionBlock
from torch import nn

from denseclip.clip import feed_forward as module
from denseclip.clip.feed_forward import feed_forward

WIDTH = 21


def branch(activation):
    torch.manual_seed(0)
    return ResidualAttentionBlock(WIDTH, 3, act_layer=activation).mlp.eval()


@pytest.mark.parametrize('activation', [QuickGELU, nn.GELU, lambda: nn.GELU('tanh'), nn.ReLU])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_it_is_open_clips_bit_for_bit_in_parts_and_at_once(activation, dtype, monkeypatch):
    mlp, x = branch(activation).to(dtype), torch.randn(2, 37, WIDTH).to(dtype)
    with torch.no_grad():
        expected, given = mlp(x), x.clone()
        assert torch.equal(feed_forward(mlp, x), expected)
        monkeypatch.setattr(module, '_PART', 128)  # the last part is a shorter one, with a rest that fills no vector
        assert torch.equal(feed_forward(mlp, x), expected)
    assert torch.equal(x, given)


@pytest.mark.parametrize('activation', [QuickGELU, nn.GELU])
def test_gradients_are_open_clips(activation):
    mlp, x = branch(activation), torch.randn(2, 7, WIDTH)
    wanted, found = (torch.autograd.grad(run(x).square().sum(), mlp.parameters()) for run in (mlp, walk(mlp)))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def walk(mlp):
    return lambda x: feed_forward(mlp, x)


def test_what_a_first_layer_hands_through_is_not_overwritten():
    mlp, x = branch(QuickGELU), torch.randn(2, 7, WIDTH)
    mlp.c_fc, mlp.c_proj = nn.Identity(), nn.Identity()
    given = x.clone()
    with torch.no_grad():
        assert torch.equal(feed_forward(mlp, x), QuickGELU()(given)) and torch.equal(x, given)


@pytest.mark.parametrize('part', ['', 'gelu'])
def test_hooks_see_what_they_are_on(part):
    mlp, seen = branch(QuickGELU), []
    mlp.get_submodule(part).register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    x = torch.randn(2, 7, WIDTH)
    with torch.no_grad():
        expected, found = mlp(x), feed_forward(mlp, x)
    assert torch.equal(found, expected) and len(seen) == 2
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_another_branch_runs_as_it_is():
    mlp, x = CustomResidualAttentionBlock(WIDTH, 3, scale_fc=True).mlp.eval(), torch.randn(2, 7, WIDTH)
    with torch.no_grad():
        assert torch.equal(feed_forward(mlp, x), mlp(x))


def test_a_graph_holds_the_activation_as_it_is():
    mlp, x = branch(QuickGELU).requires_grad_(False), torch.randn(2, 7, WIDTH)
    with torch.no_grad():
        traced = torch.jit.trace(walk(mlp), x)
        compiled = torch.compile(walk(mlp), backend='eager', fullgraph=True)
        assert 'sigmoid_' not in str(traced.graph) and 'sigmoid' in str(traced.graph)
        assert torch.equal(traced(x), mlp(x)) and torch.equal(compiled(x), mlp(x))
