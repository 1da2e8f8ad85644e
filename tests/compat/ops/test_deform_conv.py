"""Deformable convolution against plain bilinear sampling with autograd."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import deform_conv2d, modulated_deform_conv2d

from denseclip.compat.ops import OPS

STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS = 2, 1, 1, 2, 2


def _case(dtype=torch.float64, batch=2, requires_grad=True):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_(requires_grad)

    points = OFFSET_GROUPS * 9
    return rand(batch, 4, 6, 5), rand(batch, 2 * points, 3, 3), rand(batch, points, 3, 3), rand(4, 2, 3, 3), rand(4)


def _sample(plane, y, x):
    """Bilinear value with zeros outside; differentiable in all arguments."""
    height, width = plane.shape
    y0, x0 = int(y.detach().floor()), int(x.detach().floor())
    total = plane.new_zeros(())
    for row, weight_y in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, weight_x in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= row < height and 0 <= column < width:
                total = total + plane[row, column] * weight_y * weight_x
    return total


def _loop(images, offset, mask, weight, bias):
    batch, channels = images.shape[:2]
    out_channels, per_group = weight.shape[:2]
    result = []
    for n in range(batch):
        for o in range(out_channels):
            first = o // (out_channels // GROUPS) * per_group
            for i in range(offset.shape[2]):
                for j in range(offset.shape[3]):
                    total = bias[o]
                    for c in range(per_group):
                        group = (first + c) // (channels // OFFSET_GROUPS)
                        for k in range(9):
                            index = group * 9 + k
                            y = i * STRIDE - PADDING + k // 3 * DILATION + offset[n, 2 * index, i, j]
                            x = j * STRIDE - PADDING + k % 3 * DILATION + offset[n, 2 * index + 1, i, j]
                            value = _sample(images[n, first + c], y, x) * mask[n, index, i, j]
                            total = total + value * weight[o, c, k // 3, k % 3]
                    result.append(total)
    return torch.stack(result).view(batch, out_channels, *offset.shape[2:])


def test_modulated_equals_loop():
    inputs = _case(batch=1)
    images, offset, mask, weight, bias = inputs
    expected = _loop(*inputs)
    actual = modulated_deform_conv2d(
        images, offset, mask, weight, bias, STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS
    )
    assert torch.allclose(actual, expected, atol=1e-10)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_loop = torch.autograd.grad((expected * probe).sum(), inputs)
    by_operator = torch.autograd.grad((actual * probe).sum(), inputs)
    for ours, reference in zip(by_operator, by_loop, strict=True):
        assert torch.allclose(ours, reference, atol=1e-9)


def test_plain_is_modulated_with_ones():
    images, offset, mask, weight, bias = _case()
    ones, zeros = torch.ones_like(mask), torch.zeros_like(bias)
    expected = modulated_deform_conv2d(images, offset, ones, weight, zeros, 2, 1, 1, GROUPS, OFFSET_GROUPS)
    actual = deform_conv2d(images, offset, weight, 2, 1, 1, GROUPS, OFFSET_GROUPS)
    assert torch.allclose(actual, expected, atol=1e-12)
    inputs = (images, offset, weight)
    for ours, reference in zip(
        torch.autograd.grad(actual.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(ours, reference, atol=1e-10)


def test_without_offsets_it_is_a_convolution():
    images, offset, _, weight, _ = _case()
    actual = deform_conv2d(images, torch.zeros_like(offset), weight, 2, 1, 1, GROUPS, OFFSET_GROUPS)
    assert torch.allclose(actual, F.conv2d(images, weight, None, 2, 1, 1, GROUPS), atol=1e-12)


def test_weight_gradient_alone_and_repeated():
    """The weight gradient comes from the input gradient's call when there is one, and is computed when there is not."""
    images, offset, _, weight, _ = _case()
    full = deform_conv2d(images, offset, weight, 2, 1, 1, GROUPS, OFFSET_GROUPS)
    first = torch.autograd.grad(full.square().sum(), (images, weight), retain_graph=True)[1]
    again = torch.autograd.grad(full.square().sum() * 2, (images, weight))[1]
    alone_output = deform_conv2d(images.detach(), offset.detach(), weight, 2, 1, 1, GROUPS, OFFSET_GROUPS)
    (alone,) = torch.autograd.grad(alone_output.square().sum(), weight)
    assert torch.allclose(first, alone, atol=1e-12)
    assert torch.allclose(again, 2 * alone, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision(dtype):
    low = _case(dtype)
    exact = tuple(tensor.detach().float().requires_grad_() for tensor in low)
    results = []
    for images, offset, mask, weight, bias in (low, exact):
        results.append(modulated_deform_conv2d(images, offset, mask, weight, bias, 2, 1, 1, GROUPS, OFFSET_GROUPS))
    assert torch.equal(results[0], results[1].to(dtype))
    for ours, reference in zip(
        torch.autograd.grad(results[0].sum(), low), torch.autograd.grad(results[1].sum(), exact), strict=True
    ):
        assert ours.dtype == dtype
        assert torch.allclose(ours.float(), reference, rtol=2e-2, atol=2e-2)


def test_no_images():
    """mmcv refuses an empty batch before it reaches the operator; the operator itself has nothing to do."""
    images, offset, mask, weight, bias = (tensor.detach() for tensor in _case(batch=0))
    geometry = dict.fromkeys(('stride_h', 'stride_w'), 2)
    geometry |= dict.fromkeys(('pad_h', 'pad_w', 'dilation_h', 'dilation_w'), 1)
    geometry |= {'group': GROUPS, 'deformable_group': OFFSET_GROUPS, 'with_bias': True}
    scratch, output = images.new_empty(0), images.new_empty(0, 4, 3, 3)
    OPS['modulated_deform_conv_forward'](images, weight, bias, scratch, offset, mask, output, scratch, **geometry)
    inputs = (images, weight, bias, offset, mask)
    grads = [torch.full_like(tensor, 7) for tensor in inputs]
    OPS['modulated_deform_conv_backward'](
        images, weight, bias, scratch, offset, mask, scratch, *grads, grad_output=output, **geometry
    )
    assert not any(grad.count_nonzero() for grad in grads)
