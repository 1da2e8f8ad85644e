"""The explicit walk equals open_clip's own blocks."""

import pytest
import torch
from open_clip.transformer import CustomResidualAttentionBlock, QuickGELU, ResidualAttentionBlock

from denseclip.clip.blocks import drop_path, maybe_checkpoint, run_block, self_attention

WIDTH, HEADS = 24, 3


@pytest.fixture
def block():
    torch.manual_seed(0)
    return ResidualAttentionBlock(WIDTH, HEADS, act_layer=QuickGELU, ls_init_value=0.5).eval()


@pytest.fixture
def tokens():
    return torch.randn(2, 7, WIDTH)


def causal_mask(length):
    return torch.full((length, length), float('-inf')).triu_(1)


@pytest.mark.parametrize('causal', [False, True])
def test_equals_open_clip(block, tokens, causal):
    expected = block(tokens, attn_mask=causal_mask(7) if causal else None)
    assert torch.allclose(run_block(block, tokens, causal=causal), expected, atol=1e-6)


@pytest.mark.parametrize('causal', [False, True])
def test_custom_blocks_run_as_they_are(tokens, causal):
    block = CustomResidualAttentionBlock(WIDTH, HEADS, scale_fc=True).eval()
    expected = block(tokens, attn_mask=causal_mask(7) if causal else None)
    assert torch.equal(run_block(block, tokens, causal=causal), expected)
    with pytest.raises(ValueError, match='no explicit walk'):
        run_block(block, tokens, kind='value')


def test_value_attention_is_per_token(block, tokens):
    out = self_attention(block.attn, tokens, kind='value')
    assert torch.allclose(out[:, 3:4], self_attention(block.attn, tokens[:, 3:4], kind='value'), atol=1e-6)
    # A sequence of one token attends to itself whatever the queries say.
    assert torch.allclose(out[:, 3:4], self_attention(block.attn, tokens[:, 3:4], kind='qk'), atol=1e-6)


def test_without_residual_and_ffn(block, tokens):
    bare = run_block(block, tokens, residual=False, ffn=False)
    assert torch.allclose(tokens + bare, run_block(block, tokens, ffn=False), atol=1e-6)


def test_drop_path_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2)
    assert drop_path(x, 0.3, False) is x
    dropped = drop_path(x, 0.3, True)
    assert sorted(set(dropped[:, 0].tolist())) == pytest.approx([0.0, 1 / 0.7])
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


def test_checkpointing_changes_no_gradient(block, tokens):
    gradients = []
    for active in (False, True):
        block.zero_grad()
        maybe_checkpoint(active, block, tokens, causal=True).square().sum().backward()
        gradients.append([p.grad.clone() for p in block.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, atol=1e-5)
