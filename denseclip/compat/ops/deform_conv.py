"""Deformable convolution v1 (Dai et al., ICCV 2017) and v2 (Zhu et al., CVPR 2019) through torchvision's kernels.

torchvision and mmcv order offsets, masks and groups alike. mmcv computes the gradients of v1 in two calls, torchvision
all at once: the first call leaves the weight gradient in the ``columns`` scratch tensor that both calls receive.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype

Geometry: TypeAlias = tuple[int | bool, ...]
"""Stride, padding, dilation (each y, x), groups, offset groups and whether there is a mask, as torchvision wants."""

_PLAIN = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
_MODULATED = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **geometry: int
) -> None:
    """Convolve at offset positions.

    Args:
        input: Feature maps.
        weight: Kernel.
        offset: Shift ``(y, x)`` of each kernel position at each output position.
        output: Result, filled in place.
        columns: Scratch, unused here.
        ones: Scratch, unused here.
        **geometry: ``kW kH dW dH padW padH dilationW dilationH group deformable_group im2col_step`` of the extension.

    Shape:
        ``input`` (N, C, H, W), ``weight`` (O, C / groups, kh, kw), ``offset`` (N, 2 * groups * kh * kw, H', W').
    """
    _forward(input, weight, offset, None, None, output, _plain(geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Fill the gradients of input and offsets, and leave that of the weight in ``columns``."""
    grads = _backward(input, weight, offset, None, gradOutput, _plain(geometry))
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])
    columns.resize_(weight.shape).copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1.0,
    **geometry: int,
) -> None:
    """Add the scaled gradient of the weight to ``gradWeight``."""
    if columns.shape == gradWeight.shape:
        grad = columns.clone()
        columns.resize_(0)
    else:  # neither input nor offset needed a gradient, so the other call was skipped
        weight = torch.zeros_like(gradWeight)  # only its shape matters for its own gradient
        grad = _backward(input, weight, offset, None, gradOutput, _plain(geometry))[1]
    gradWeight.add_(grad.to(gradWeight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Convolve at offset positions with a weight for each sample.

    Args:
        input: Feature maps.
        weight: Kernel.
        bias: Bias, read only ``with_bias``.
        ones: Scratch, unused here.
        offset: Shift ``(y, x)`` of each kernel position at each output position.
        mask: Weight of each kernel position at each output position.
        output: Result, filled in place.
        columns: Scratch, unused here.
        with_bias: Whether to add the bias.
        **geometry: ``kernel_h kernel_w stride_h ... group deformable_group`` of the extension.

    Shape:
        As :func:`deform_conv_forward`; ``mask`` (N, groups * kh * kw, H', W').
    """
    _forward(input, weight, offset, mask, bias if with_bias else None, output, _modulated(geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Fill the gradients of input, weight, bias, offsets and mask."""
    grads = _backward(input, weight, offset, mask, grad_output, _modulated(geometry))
    targets = [grad_input, grad_weight, grad_offset, grad_mask] + [grad_bias] * with_bias
    for target, grad in zip(targets, grads, strict=False):
        target.copy_(grad)


def _plain(values: dict[str, int]) -> Geometry:
    return (*(values[name] for name in _PLAIN), False)


def _modulated(values: dict[str, int]) -> Geometry:
    return (*(values[name] for name in _MODULATED), True)


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    output: Tensor,
    geometry: Geometry,
) -> None:
    if output.numel() == 0:
        return
    dtype = compute_dtype(input)
    tensors = (input, weight, offset, _or_empty_mask(mask, input), _or_no_bias(bias, weight))
    output.copy_(torch.ops.torchvision.deform_conv2d(*(tensor.to(dtype) for tensor in tensors), *geometry))


def _backward(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, grad_output: Tensor, geometry: Geometry
) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias."""
    dtype = compute_dtype(input)
    tensors = (input, weight, offset, _or_empty_mask(mask, input), _or_no_bias(None, weight))
    if grad_output.numel() == 0:
        return tuple(torch.zeros_like(tensor) for tensor in tensors)
    inputs = (tensor.to(dtype) for tensor in (grad_output, *tensors))
    gradients: tuple[Tensor, ...] = torch.ops.torchvision._deform_conv2d_backward(*inputs, *geometry)
    return gradients


def _or_empty_mask(mask: Tensor | None, input: Tensor) -> Tensor:
    return input.new_zeros((input.shape[0], 0)) if mask is None else mask


def _or_no_bias(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias
