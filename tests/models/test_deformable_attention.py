"""Deformable attention with sizes on the host, against mmcv's plain form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from denseclip.models.functional.deformable_attention import deformable_attention, pixel_centres, sampling_locations

SIZES = [(2, 3), (4, 5)]


def inputs(sizes, batch=2, queries=7, heads=2, depth=4, points=3, dtype=torch.float32):
    total = sum(h * w for h, w in sizes)
    value = torch.randn(batch, total, heads, depth, dtype=dtype)
    locations = torch.rand(batch, queries, heads, len(sizes), points, 2, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, len(sizes), points, dtype=dtype)
    return value, locations, weights


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3), st.integers(1, 3))
def test_equals_the_plain_form_with_gradients(sizes, points):
    tensors = [t.requires_grad_() for t in inputs(sizes, points=points)]
    ours = deformable_attention(tensors[0], sizes, *tensors[1:])
    plain = multi_scale_deformable_attn_pytorch(tensors[0], torch.tensor(sizes), *tensors[1:])
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    probe = torch.randn_like(ours)
    for mine, theirs in zip(
        torch.autograd.grad(ours, tensors, probe), torch.autograd.grad(plain, tensors, probe), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_keeps_no_samples_for_the_backward_pass():
    """What autograd stores is of the size of the inputs, not of the samples (8 per head and query here)."""
    sizes = [(8, 8)]
    value, locations, weights = (t.requires_grad_() for t in inputs(sizes, queries=64, depth=32, points=8))
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.numel()) or t, lambda t: t):
        deformable_attention(value, sizes, locations, weights)
    samples = 2 * 2 * 32 * 64 * 8
    assert sum(stored) < samples


def test_a_sample_at_a_pixel_centre_is_that_pixel():
    value = torch.arange(6.0).view(1, 6, 1, 1)
    locations = pixel_centres([(2, 3)], value)[None, :, None, None, None]
    out = deformable_attention(value, [(2, 3)], locations, torch.ones(1, 6, 1, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.arange(6.0))


def test_locations_around_points_and_boxes():
    offsets = torch.zeros(1, 1, 1, 2, 4, 2)
    offsets[..., 0] = 2.0
    points = sampling_locations(torch.full((1, 1, 2, 2), 0.5), offsets, SIZES)
    assert points[0, 0, 0, :, 0, 0].tolist() == pytest.approx([0.5 + 2 / 3, 0.5 + 2 / 5])
    assert torch.all(points[..., 1] == 0.5)
    boxes = sampling_locations(torch.tensor([0.5, 0.5, 0.2, 0.4]).expand(1, 1, 2, 4), offsets, SIZES)
    assert boxes[0, 0, 0, :, 0, 0].tolist() == pytest.approx([0.5 + 2 / 4 * 0.2 / 2] * 2)


def test_other_references_are_refused():
    with pytest.raises(ValueError, match='2 numbers'):
        sampling_locations(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2, 4, 2), SIZES)
