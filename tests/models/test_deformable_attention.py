"""Deformable attention with sizes on the host, against mmcv's plain form."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import multi_scale_deform_attn
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from denseclip.models.functional import bilinear_bags
from denseclip.models.functional import deformable_attention as module
from denseclip.models.functional.deformable_attention import (
    attend_around,
    deformable_attention,
    pixel_centres,
    sampling_locations,
)

SIZES = [(2, 3), (4, 5)]


def inputs(sizes, batch=2, queries=7, heads=2, depth=4, points=3, dtype=torch.float32):
    total = sum(h * w for h, w in sizes)
    value = torch.randn(batch, total, heads, depth, dtype=dtype)
    locations = torch.rand(batch, queries, heads, len(sizes), points, 2, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, len(sizes), points, dtype=dtype)
    return value, locations, weights


@pytest.mark.parametrize('sizes', [[(1, 5), (3, 1)], [(8, 9), (4, 4), (2, 2)]])
def test_a_last_map_that_is_narrower_than_another(sizes):
    """Its lower end was taken for a place outside of the table, and other pixels were read."""
    tensors = inputs(sizes, queries=50)
    plain = multi_scale_deformable_attn_pytorch(tensors[0], torch.tensor(sizes), *tensors[1:])
    torch.testing.assert_close(deformable_attention(tensors[0], sizes, *tensors[1:]), plain, atol=1e-5, rtol=1e-5)


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


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([0.0, 1.0, 7.0]), st.integers(1, 3))
def test_around_points_equals_sampling_locations(far, batch):
    """Offsets in pixels, also far outside of the picture, whose gradients are zero there."""
    total = sum(h * w for h, w in SIZES)
    value, _, weights = inputs(SIZES, batch=batch)
    offsets = torch.randn(batch, 7, 2, 2, 3, 2) * 2 + far
    reference = torch.rand(1, 7, 2, 2)
    assert value.shape[1] == total
    tensors = [t.requires_grad_() for t in (value, offsets, weights)]
    ours = attend_around(tensors[0], SIZES, reference, *tensors[1:])
    locations = sampling_locations(reference, tensors[1], SIZES)
    plain = multi_scale_deformable_attn_pytorch(tensors[0], torch.tensor(SIZES), locations, tensors[2])
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
    probe = torch.randn_like(ours)
    mine, theirs = (torch.autograd.grad(out, tensors, probe) for out in (ours, plain))
    for one, other in zip(mine, theirs, strict=True):
        # A position within rounding of a pixel's centre may fall on either side of it: its slope jumps there.
        assert ((one - other).abs() > 1e-3).float().mean() < 0.01


def test_autograd_alone_gives_the_same_gradients(monkeypatch):
    """The form that other devices and compilers take."""
    tensors = [t.requires_grad_() for t in inputs(SIZES, dtype=torch.float64)]
    out = deformable_attention(tensors[0], SIZES, *tensors[1:])
    probe = torch.randn_like(out)
    own = torch.autograd.grad(out, tensors, probe)
    monkeypatch.setattr(
        bilinear_bags._Bags,
        'apply',
        lambda table, weights, x, y, found: bilinear_bags._sum(table, weights, replace(found, x=x, y=y)),
    )
    for one, other in zip(
        own, torch.autograd.grad(deformable_attention(tensors[0], SIZES, *tensors[1:]), tensors, probe), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_only_what_needs_gradients_gets_them():
    value, locations, weights = inputs(SIZES)
    out = deformable_attention(value.requires_grad_(), SIZES, locations, weights)
    (grad,) = torch.autograd.grad(out.sum(), value)
    assert grad.shape == value.shape
    out = deformable_attention(value.detach(), SIZES, locations, weights.requires_grad_())
    (grad,) = torch.autograd.grad(out.sum(), weights)
    assert grad.shape == weights.shape


def test_half_precision_is_positioned_in_full():
    """bfloat16 has 8 bits: positions in a map of 100 columns would miss by half a pixel."""
    value = torch.arange(100.0).view(1, 100, 1, 1).bfloat16()
    at = pixel_centres([(1, 100)], torch.zeros(1))[None, :, None, None, None]
    out = deformable_attention(value, [(1, 100)], at, torch.ones(1, 100, 1, 1, 1))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.flatten(), value.flatten())


def test_positions_that_are_no_numbers_give_no_numbers():
    value, locations, weights = inputs(SIZES)
    locations[0, 0] = torch.nan
    locations[1, 1] = torch.inf
    out = deformable_attention(value, SIZES, locations, weights)
    assert out.shape == (2, 7, 8) and bool(out[0, 0].isnan().all()) and bool(out[0, 1:].isfinite().all())


def test_a_compiled_mmcv_does_the_work_on_a_gpu(monkeypatch):
    """Fake tensors on a GPU: mmcv's kernel is called once, in float32, with the sizes it wants."""
    calls = []

    def kernel(value, shapes, starts, locations, weights, im2col_step):
        calls.append((value.dtype, shapes.tolist(), starts.tolist(), locations.shape, im2col_step))
        return value.new_zeros(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])

    extension = multi_scale_deform_attn.ext_module
    monkeypatch.setattr(extension, 'ms_deform_attn_forward', kernel)
    monkeypatch.setattr(module, 'uses_mmcv_kernel', lambda value: True)
    value, _, weights = inputs(SIZES, batch=6)
    offsets, reference = torch.zeros(6, 7, 2, 2, 3, 2), torch.rand(1, 7, 2, 2)
    out = attend_around(value.bfloat16(), SIZES, reference, offsets, weights)
    assert out.shape == (6, 7, 8) and out.dtype == torch.bfloat16
    assert calls == [(torch.float32, [[2, 3], [4, 5]], [0, 6], (6, 7, 2, 2, 3, 2), 6)]


@pytest.mark.parametrize('compiled', [True, False])
def test_the_kernel_is_asked_for_when_it_is_there(compiled, monkeypatch):
    monkeypatch.setattr(
        module.importlib, 'import_module', lambda name: SimpleNamespace(IS_DENSECLIP_FALLBACK=not compiled)
    )
    module._mmcv_is_compiled.cache_clear()
    try:
        assert module.uses_mmcv_kernel(SimpleNamespace(is_cuda=True)) is compiled
        assert not module.uses_mmcv_kernel(torch.zeros(1))
    finally:
        module._mmcv_is_compiled.cache_clear()


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
