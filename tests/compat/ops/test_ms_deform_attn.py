"""Deformable attention against plain sampling with autograd, and mmcv's own pure PyTorch path."""

import math

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

SHAPES = torch.tensor([[3, 4], [2, 2]])
STARTS = torch.tensor([0, 12])


def _case(dtype=torch.float64, batch=2, queries=3, heads=2, depth=3, points=2):
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(batch, 16, heads, depth, generator=generator, dtype=torch.float64)
    locations = torch.rand(batch, queries, heads, 2, points, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, 2, points, generator=generator, dtype=torch.float64)
    return tuple(tensor.to(dtype).requires_grad_() for tensor in (value, locations, weights))


def _apply(value, locations, weights, shapes=SHAPES, starts=STARTS):
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


def _loop(value, locations, weights):
    batch, _, heads, depth = value.shape
    result = []
    for n in range(batch):
        for q in range(locations.shape[1]):
            for h in range(heads):
                total = value.new_zeros(depth)
                for level, (height, width) in enumerate(SHAPES.tolist()):
                    for p in range(locations.shape[4]):
                        x = locations[n, q, h, level, p, 0] * width - 0.5
                        y = locations[n, q, h, level, p, 1] * height - 0.5
                        x0, y0 = math.floor(x.item()), math.floor(y.item())
                        for row, weight_y in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
                            for column, weight_x in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                                if 0 <= row < height and 0 <= column < width:
                                    key = int(STARTS[level]) + row * width + column
                                    corner = value[n, key, h] * weight_y * weight_x
                                    total = total + corner * weights[n, q, h, level, p]
                result.append(total)
    return torch.stack(result).view(batch, -1, heads * depth)


def test_forward_and_backward_equal_loop():
    inputs = _case()
    expected, actual = _loop(*inputs), _apply(*inputs)
    assert torch.allclose(actual, expected, atol=1e-12)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_loop = torch.autograd.grad((expected * probe).sum(), inputs)
    by_operator = torch.autograd.grad((actual * probe).sum(), inputs)
    for ours, reference in zip(by_operator, by_loop, strict=True):
        assert torch.allclose(ours, reference, atol=1e-11)


def test_equals_mmcv_python_path():
    value, locations, weights = _case(torch.float32, queries=7)
    expected = multi_scale_deformable_attn_pytorch(value, SHAPES, locations, weights)
    assert torch.allclose(_apply(value, locations, weights), expected, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_computes_in_float32(dtype):
    low = _case(dtype)
    exact = tuple(tensor.detach().float().requires_grad_() for tensor in low)
    actual, expected = _apply(*low), _apply(*exact)
    assert torch.equal(actual, expected.to(dtype))
    for ours, reference in zip(
        torch.autograd.grad(actual.sum(), low), torch.autograd.grad(expected.sum(), exact), strict=True
    ):
        assert torch.equal(ours, reference.to(dtype))


@pytest.mark.parametrize('sizes', [{'batch': 0}, {'queries': 0}])
def test_empty(sizes):
    inputs = _case(**sizes)
    output = _apply(*inputs)
    assert output.shape == (inputs[0].shape[0], inputs[1].shape[1], 6)
    output.sum().backward()
    assert inputs[0].grad.count_nonzero() == 0


def test_backward_keeps_less_than_autograd_through_samples():
    """What is saved for the backward pass are the inputs, not the samples of every level."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        inputs = _case(queries=50)
        _apply(*inputs)
    assert sum(tensor.numel() for tensor in saved) == sum(map(torch.numel, inputs)) + SHAPES.numel() + STARTS.numel()
