"""The attention pool with an output for every token."""

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d

from denseclip.clip.towers import attention_pool, value_projection
from denseclip.clip.towers.attention_pool import attend, pool_tokens


@pytest.fixture(params=[2, 8])
def pool(request):
    torch.manual_seed(0)
    return AttentionPool2d(4, 32, request.param, 12).eval()


def test_mean_token_is_open_clips_pooling(pool):
    x = torch.randn(3, 32, 4, 4)
    pooled, dense = attention_pool(pool, x)
    assert torch.allclose(pooled, pool(x), atol=1e-5)
    assert dense.shape == (3, 12, 4, 4)


@pytest.mark.parametrize('size', [(1, 1), (3, 7), (9, 5)])
def test_any_size(pool, size):
    pooled, dense = attention_pool(pool, torch.randn(2, 32, *size))
    assert pooled.shape == (2, 12) and dense.shape == (2, 12, *size)


def test_crop_needs_a_smaller_map(pool):
    x = torch.randn(1, 32, 3, 2)
    positions = pool.positional_embedding
    tokens = pool_tokens(pool, x, 'crop') - pool_tokens_without_positions(x)
    grid = positions[1:].reshape(4, 4, 32)
    assert torch.allclose(tokens[0, 1:], grid[:3, :2].flatten(0, 1), atol=1e-6)
    with pytest.raises(ValueError, match='larger than the 4x4 grid'):
        attention_pool(pool, torch.randn(1, 32, 5, 4), pos_resize='crop')


def pool_tokens_without_positions(x):
    flat = x.flatten(2).transpose(1, 2)
    return torch.cat([flat.mean(1, keepdim=True), flat], dim=1)


def test_pixels_transform_with_the_map(pool):
    """Without positions, moving the pixels moves their outputs and leaves the image embedding alone."""
    pool.positional_embedding.data.zero_()
    x = torch.randn(1, 32, 4, 4)
    pooled, dense = attention_pool(pool, x)
    pooled_flipped, dense_flipped = attention_pool(pool, x.flip(-1))
    assert torch.allclose(pooled, pooled_flipped, atol=1e-5)
    assert torch.allclose(dense.flip(-1), dense_flipped, atol=1e-5)


def test_value_projection_is_attention_to_oneself(pool):
    x = torch.randn(1, 32, 2, 2)
    values = value_projection(pool, x)
    pixel = x[:, :, 1, 0].unsqueeze(1)
    assert torch.allclose(values[:, :, 1, 0], attend(pool, pixel, pixel)[:, 0], atol=1e-5)


def test_gradients(pool):
    x = torch.randn(1, 32, 3, 3, requires_grad=True)
    pooled, dense = attention_pool(pool, x)
    (pooled.sum() + dense.sum()).backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in pool.parameters())
