"""Text attention of the queries by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pmp import DIM, HEADS, close

from denseclip.models.heads.pmp import TextQueryAttention


def layer(norm: str = 'pre', gamma: float = 1.0, seed: int = 0) -> TextQueryAttention:
    torch.manual_seed(seed)
    module = TextQueryAttention(DIM, HEADS, norm)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if module.gamma is not None:
            module.gamma.fill_(gamma)
    return module


def inputs(tokens: int = 5, batch: int = 2, queries: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, queries, DIM), torch.randn(queries, DIM), torch.randn(batch, tokens, DIM)


@settings(max_examples=20, deadline=None)
@given(absent=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=2))
def test_weights_are_a_distribution_over_the_tokens_that_are_there(absent) -> None:
    mask = torch.tensor(absent)
    _, weights = layer().look(*inputs(), mask, weights=True)
    assert weights is not None and weights.shape == (2, HEADS, 6, 5)
    assert bool((weights >= 0).all()) and bool((weights.movedim(-1, 1)[mask] == 0).all())
    expected = (~mask.all(1)).float()[:, None, None].expand(2, HEADS, 6)
    assert torch.allclose(weights.sum(-1), expected, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(tokens=st.integers(1, 6), times=st.integers(2, 4))
def test_repeating_all_prompts_changes_nothing(tokens: int, times: int) -> None:
    queries, pos, text = inputs(tokens)
    once = layer()(queries, pos, text, torch.zeros(2, tokens, dtype=torch.bool))
    more = layer()(queries, pos, text.repeat(1, times, 1), torch.zeros(2, tokens * times, dtype=torch.bool))
    assert close(more, once)


def test_one_prompt_updates_all_queries_alike() -> None:
    queries, pos, text = inputs(1)
    module = layer()
    update, _ = module.look(queries, pos, text, torch.zeros(2, 1, dtype=torch.bool))
    weight, bias = module.attn.in_proj_weight[2 * DIM :], module.attn.in_proj_bias[2 * DIM :]
    expected = module.attn.out_proj(text @ weight.T + bias)
    assert torch.allclose(update, expected.expand_as(update), atol=1e-6)


@pytest.mark.parametrize('norm', ['pre', 'post'])
def test_an_image_without_prompts_is_left_alone(norm: str) -> None:
    queries, pos, text = inputs()
    queries.requires_grad_()
    text.requires_grad_()
    absent = torch.tensor([[True] * 5, [False] * 5])
    module = layer(norm)
    out = module(queries, pos, text, absent)
    assert torch.equal(out[0], queries[0]) and not torch.equal(out[1], queries[1])
    out.square().sum().backward()
    for tensor in (queries.grad, text.grad, *(p.grad for p in module.parameters())):
        assert tensor is not None and bool(torch.isfinite(tensor).all())
    assert bool((text.grad[0] == 0).all())
    assert torch.equal(module(queries, pos, text[:, :0], absent[:, :0]), queries)


def test_what_stands_at_absent_tokens_is_not_read() -> None:
    queries, pos, text = inputs()
    absent = torch.tensor([[False, False, True, True, True], [False, True, False, True, False]])
    other = torch.where(absent[..., None], 1e3 * torch.randn_like(text), text)
    assert torch.equal(layer()(queries, pos, text, absent), layer()(queries, pos, other, absent))


def test_post_norm_output_is_normalised() -> None:
    module = TextQueryAttention(DIM, HEADS, 'post')
    out = module(*inputs(), torch.zeros(2, 5, dtype=torch.bool))
    assert module.gamma is None
    assert torch.allclose(out.mean(-1), torch.zeros(2, 6), atol=1e-5)
    assert torch.allclose(out.var(-1, unbiased=False), torch.ones(2, 6), atol=1e-3)


def test_starts_as_documented() -> None:
    module = TextQueryAttention(DIM, HEADS)
    assert bool((module.gamma == 0).all()) and bool((module.attn.in_proj_bias == 0).all())
    limit = (6 / (DIM + DIM)) ** 0.5
    assert float(module.attn.out_proj.weight.abs().max()) <= limit
    queries, pos, text = inputs()
    assert torch.equal(module(queries, pos, text, torch.zeros(2, 5, dtype=torch.bool)), queries)


@pytest.mark.parametrize(('arguments', 'message'), [((32, 5), '5 heads'), ((32, 4, 'none'), 'pre, post')])
def test_impossible_settings_are_named(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        TextQueryAttention(*arguments)
