"""The attention of a read-out's last blocks."""

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from denseclip.clip.attention import (
    Affinity,
    Guide,
    adaptive_temperature,
    attend,
    attention_terms,
    gaussian_bias,
    resize_values,
    self_self_attend,
)
from denseclip.clip.blocks import attention_weights, external_attention, project_one, projections, self_attention


@pytest.fixture
def block():
    torch.manual_seed(0)
    return ResidualAttentionBlock(12, 3).eval()


@pytest.fixture
def tokens():
    return torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(1))


def test_kinds_are_read():
    assert attention_terms('qq+kk+vv') == ('qq', 'kk', 'vv')
    assert attention_terms('value') == ('value',)
    for bad in ('kq', 'qq+qq', 'qq+value', ''):
        with pytest.raises(ValueError, match='is unknown; choose from'):
            attention_terms(bad)


def test_terms_are_sums_of_softmaxes(block, tokens):
    q, k, v = projections(block.attn, tokens)
    weights = [(t @ t.transpose(-1, -2) * 2**-1).softmax(-1) for t in (q, k)]  # heads have a size of 4
    expected = block.attn.out_proj((sum(weights) @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(self_attention(block.attn, tokens, kind='qq+kk'), expected, atol=1e-5)
    mean = self_attention(block.attn, tokens, kind='qq+kk', average=True) - block.attn.out_proj.bias
    assert torch.allclose(2 * mean + block.attn.out_proj.bias, expected, atol=1e-5)


def test_qk_is_the_ordinary_attention(block, tokens):
    expected = block.attn(tokens, tokens, tokens, need_weights=False)[0]
    assert torch.allclose(self_attention(block.attn, tokens), expected, atol=1e-5)
    q, k, v = projections(block.attn, tokens)
    assert torch.allclose(attention_weights(block.attn, tokens) @ v, attend(q, k, v, 'qk'), atol=1e-5)


def test_one_projection_is_a_third_of_all(block, tokens):
    for name, part in zip('qkv', projections(block.attn, tokens), strict=True):
        assert torch.allclose(project_one(block.attn, tokens, name), part.transpose(1, 2).flatten(2), atol=1e-6)


def test_guide_scales_mixes_and_adds(block, tokens):
    q, k, v = projections(block.attn, tokens)
    bias, mix = torch.randn(2, 1, 7, 7), torch.rand(2, 3, 7, 7)
    weights = 0.5 * (0.7 * (k @ k.transpose(-1, -2)) / 2 + bias).softmax(-1) + mix
    expected = block.attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
    guide = Guide(bias=bias, mix=mix, scale=0.7, gain=0.5)
    assert torch.allclose(self_attention(block.attn, tokens, kind='kk', guide=guide), expected, atol=1e-5)


def test_gaussian_prefers_near_patches():
    bias = gaussian_bias((3, 4), 2.0)
    assert bias.shape == (13, 13) and not bias[0].any() and not bias[:, 0].any()
    patches = bias[1:, 1:]
    assert torch.equal(patches, patches.T) and torch.equal(patches.diagonal(), torch.ones(12))
    assert patches[0, 5].item() == pytest.approx(torch.tensor(-2 / 8).exp().item())  # one row down, one column right


def test_a_prior_alone_needs_one(block, tokens):
    with pytest.raises(ValueError, match='compares nothing'):
        self_attention(block.attn, tokens, kind='prior')
    near = self_attention(block.attn, tokens, kind='prior', mask=gaussian_bias((2, 3), 1.0))
    assert near.shape == tokens.shape


def test_self_self_attention_without_differences_is_the_mean(block):
    same = torch.randn(1, 1, 12).expand(1, 5, 12)
    q, k, v = projections(block.attn, same)
    out = self_self_attend(q, k, v, 'qq+kk+vv', adaptive_temperature(same, 3), iterations=2, average=True)
    assert torch.allclose(out, v, atol=1e-5)


def test_external_attention(block, tokens):
    logits = torch.full((2, 6, 6), float('-inf'))
    logits[:, range(6), range(6)] = 0.0
    own = external_attention(block.attn, tokens, (2, 3), Guide(affinity=Affinity(logits, (2, 3))))
    assert torch.allclose(own, self_attention(block.attn, tokens[:, 1:], kind='value'), atol=1e-5)
    finer = external_attention(block.attn, tokens, (2, 3), Guide(affinity=Affinity(torch.zeros(2, 24, 24), (4, 6))))
    assert finer.shape == (2, 24, 12)
    with pytest.raises(ValueError, match='affinity provider'):
        external_attention(block.attn, tokens, (2, 3), None)


def test_values_keep_their_places():
    v = torch.arange(6.0).view(1, 1, 6, 1).repeat(1, 2, 1, 3)
    assert resize_values(v, (2, 3), (2, 3)) is v
    big = resize_values(v, (2, 3), (6, 9))
    assert big.shape == (1, 2, 54, 3)
    assert torch.allclose(big[0, 0, :, 0].view(6, 9)[1::3, 1::3], torch.arange(6.0).view(2, 3), atol=1e-5)


def test_a_comparison_with_its_own_temperature_takes_no_other(block, tokens):
    """GEM's temperature follows the tokens: a scale or bias was once dropped without a word."""
    for wrong in (dict(scale=2.0), dict(mask=torch.zeros(7, 7)), dict(guide=Guide(scale=0.5))):
        with pytest.raises(ValueError, match='temperature of its own'):
            self_attention(block.attn, tokens, kind='qq', iterations=1, **wrong)
