"""Mask pooling against a loop over masks."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.mask_pooling import mask_pool


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.tuples(st.integers(1, 6), st.integers(1, 6)), st.booleans())
def test_is_the_mean_over_each_masks_pixels(batch, masks, size, other_size):
    features = torch.randn(batch, 5, *size)
    logits = torch.randn(batch, masks, *(2 * s for s in size)) if other_size else torch.randn(batch, masks, *size)
    pooled = mask_pool(features, logits)
    chosen = F.interpolate(logits, size=size, mode='bilinear') > 0
    for n in range(batch):
        for q in range(masks):
            inside = features[n][:, chosen[n, q]]
            wanted = inside.mean(dim=1) if inside.shape[1] else torch.zeros(5)
            torch.testing.assert_close(pooled[n, q], wanted, atol=1e-5, rtol=1e-5)


def test_an_empty_mask_gives_zeros_and_a_logit_of_zero_is_outside():
    features = torch.randn(1, 3, 4, 4)
    assert torch.all(mask_pool(features, torch.zeros(1, 2, 4, 4)) == 0)


def test_no_gradient_reaches_the_masks():
    features, logits = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randn(1, 2, 4, 4, requires_grad=True)
    mask_pool(features, logits).sum().backward()
    assert features.grad is not None and logits.grad is None


def test_large_masks_stay_exact_under_autocast():
    features, logits = torch.full((1, 1, 300, 300), 1.0), torch.ones(1, 1, 300, 300)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert mask_pool(features, logits).item() == 1.0
