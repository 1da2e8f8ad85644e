"""Pixel-text matching: agreement with plain formulas, and properties."""

import pytest
import torch
import torch.nn.functional as F

from denseclip.models.functional.matching import (
    expected_text_map,
    merge_prompts,
    pixel_text_score_map,
    projected_cosine,
    visual_context,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_visual_context_puts_the_pooled_token_first():
    pooled, dense = torch.randn(2, 4), torch.randn(2, 4, 3, 5)
    context = visual_context(pooled, dense)
    assert context.shape == (2, 16, 4)
    assert torch.equal(context[:, 0], pooled)
    assert torch.equal(context[:, 1 + 7], dense[:, :, 1, 2])


@pytest.mark.parametrize('batch', [1, 2])
def test_score_map_is_the_cosine_of_every_pair(batch):
    dense, text = torch.randn(2, 6, 3, 4), torch.randn(batch, 5, 6)
    scores = pixel_text_score_map(dense, text)
    for n, k, y, x in [(0, 0, 0, 0), (1, 4, 2, 3), (1, 2, 1, 0)]:
        expected = F.cosine_similarity(dense[n, :, y, x], text[n % batch, k], dim=0)
        torch.testing.assert_close(scores[n, k, y, x], expected)


def test_scores_ignore_length():
    dense, text = torch.randn(1, 6, 3, 4), torch.randn(1, 5, 6)
    torch.testing.assert_close(pixel_text_score_map(3 * dense, 0.2 * text), pixel_text_score_map(dense, text))


def test_expected_text_has_no_class_axis_and_follows_the_winner():
    text = torch.randn(1, 5, 6)
    scores = torch.full((1, 5, 2, 2), -1.0)
    scores[:, 3] = 1.0
    expected = expected_text_map(scores, text, tau=0.01)
    direction = F.normalize(text[0, 3], dim=0) * 6**0.5
    torch.testing.assert_close(expected, direction[None, :, None, None].expand(1, 6, 2, 2))


def test_expected_text_does_not_depend_on_the_order_of_classes():
    dense, text = torch.randn(2, 6, 3, 4), torch.randn(1, 5, 6)
    order = torch.tensor([3, 1, 4, 0, 2])
    maps = [expected_text_map(pixel_text_score_map(dense, t), t, 0.07) for t in (text, text[:, order])]
    torch.testing.assert_close(*maps)


def test_one_prompt_per_class_is_left_alone():
    embeddings = torch.randn(2, 3, 4)
    assert merge_prompts(embeddings, torch.arange(3), 3) is embeddings


def test_synonyms_merge_to_the_mean_direction_and_mean_length():
    embeddings = torch.randn(2, 4, 6)
    merged = merge_prompts(embeddings, torch.tensor([0, 1, 1, 1]), 2)
    torch.testing.assert_close(merged[:, 0], embeddings[:, 0], rtol=0, atol=0)
    units = F.normalize(embeddings[:, 1:], dim=-1).mean(1)
    torch.testing.assert_close(F.normalize(merged[:, 1], dim=-1), F.normalize(units, dim=-1))
    torch.testing.assert_close(merged[:, 1].norm(dim=-1), embeddings[:, 1:].norm(dim=-1).mean(1))


def test_synonyms_of_any_length_weigh_the_same():
    embeddings = torch.randn(1, 3, 6)
    scaled = embeddings * torch.tensor([1.0, 50.0, 0.1])[None, :, None]
    index = torch.tensor([0, 0, 1])
    directions = [F.normalize(merge_prompts(e, index, 2), dim=-1) for e in (embeddings, scaled)]
    torch.testing.assert_close(*directions)


@pytest.mark.parametrize('text_batch', [1, 2])
def test_projected_cosine_equals_projecting_and_comparing(text_batch):
    features, weight, bias = torch.randn(2, 8, 3, 5), torch.randn(16, 8), torch.randn(16)
    text = torch.randn(text_batch, 7, 16)
    projected = F.conv2d(features, weight[:, :, None, None], bias)
    expected = pixel_text_score_map(projected, text)
    torch.testing.assert_close(projected_cosine(features, weight, bias, text), expected, rtol=1e-4, atol=1e-5)


def test_projected_cosine_has_the_gradients_of_the_plain_way():
    leaves = [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in [(1, 4, 2, 2), (6, 4), (6,), (1, 3, 6)]]
    features, weight, bias, text = leaves
    fast = torch.autograd.grad(projected_cosine(features, weight, bias, text).square().sum(), leaves)
    plain = pixel_text_score_map(F.conv2d(features, weight[:, :, None, None], bias), text)
    slow = torch.autograd.grad(plain.square().sum(), leaves)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_projected_cosine_stays_in_range_under_bf16():
    features, weight, bias = 30 * torch.randn(1, 32, 4, 4), torch.randn(64, 32), torch.randn(64)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cosine = projected_cosine(features, weight, bias, torch.randn(1, 5, 64))
    assert cosine.abs().max() <= 1.02
