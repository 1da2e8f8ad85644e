"""Correlations, pooling along them, and the background rule."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.background import assign_background, uncertain_background
from denseclip.models.functional.pooling import correlation_pool, correlations, suppress_weak

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5))


@settings(max_examples=20, deadline=None)
@given(grid=SIZES, seed=st.integers(0, 99))
def test_correlations_are_cosines(grid, seed):
    features = torch.randn(2, 6, *grid, generator=torch.Generator().manual_seed(seed))
    found = correlations(features).flatten(2)
    assert found.shape == (2, grid[0] * grid[1], grid[0] * grid[1])
    torch.testing.assert_close(found, found.transpose(1, 2))
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), torch.ones(2, grid[0] * grid[1]))
    a, b = features[1].flatten(1)[:, 0], features[1].flatten(1)[:, -1]
    torch.testing.assert_close(found[1, 0, -1], torch.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize('gamma', [None, 0, 0.0])
def test_without_a_threshold_negative_correlations_stay(gamma):
    given_ = torch.tensor([-0.5, 0.1, 0.9])
    assert torch.equal(suppress_weak(given_, gamma), given_)


def test_threshold_is_inclusive():
    assert suppress_weak(torch.tensor([-0.5, 0.25, 0.2, 0.9]), 0.25).tolist() == pytest.approx([0, 0.25, 0, 0.9])


def test_pool_of_unrelated_places_changes_nothing():
    features = torch.randn(2, 3, 2, 3)
    alone = torch.eye(6).unflatten(1, (2, 3)).expand(2, 6, 2, 3)
    torch.testing.assert_close(correlation_pool(features, alone), features, rtol=1e-5, atol=1e-5)


def test_pool_of_equal_places_is_the_mean():
    features = torch.randn(1, 3, 2, 2)
    pooled = correlation_pool(features, torch.ones(1, 4, 2, 2))
    torch.testing.assert_close(pooled, features.mean((2, 3), keepdim=True).expand_as(features), rtol=1e-5, atol=1e-5)


def test_the_second_axis_asks():
    features = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    weights = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(
        correlation_pool(features, weights).flatten(), torch.tensor([2.0, 0.0]), atol=1e-5, rtol=0
    )


def test_features_of_another_grid_are_resized():
    pooled = correlation_pool(torch.ones(1, 4, 2, 2) * 3, torch.rand(1, 15, 3, 5) + 0.1)
    assert pooled.shape == (1, 4, 3, 5)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 3.0), rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 4), classes=st.integers(1, 5), grid=SIZES, index=st.integers(0, 4), seed=st.integers(0, 99))
def test_background_rule_treats_each_picture_by_itself(batch, classes, grid, index, seed):
    torch.manual_seed(seed)
    index = min(index, classes - 1)
    probabilities = torch.randn(batch, classes, *grid).mul(3).softmax(1)
    foreground = torch.rand(batch, 1, *grid) > 0.5
    together = assign_background(probabilities, foreground, 0.7, index)
    single = [assign_background(p[None], f[None], 0.7, index) for p, f in zip(probabilities, foreground, strict=True)]
    assert torch.equal(together, torch.cat(single))
    changed = (together != probabilities).any(1, keepdim=True)
    assert not (changed & foreground).any()
    assert not (changed & ~uncertain_background(probabilities, 0.7)).any()
    others = [k for k in range(classes) if k != index]
    assert torch.equal(together[:, others], probabilities[:, others])
    taken = uncertain_background(probabilities, 0.7) & ~foreground
    assert (together[:, index : index + 1][taken] == 1).all()
