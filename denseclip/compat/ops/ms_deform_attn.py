"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, equation 3).

One ``grid_sample`` a level. The backward pass samples each level again instead of keeping the samples of all levels,
which needs a fraction of the memory of autograd through the same expression.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Sum weighted bilinear samples of all levels.

    Args:
        value: Values of all levels, one after another.
        value_spatial_shapes: Height and width of each level.
        value_level_start_index: Where each level begins in ``value``.
        sampling_locations: Positions ``(x, y)`` in units of the level's width and height.
        attention_weights: Weight of each sample.
        im2col_step: Unused (a detail of the CUDA kernel).

    Returns:
        The attended values.

    Shape:
        ``value`` (N, S, heads, D), ``value_spatial_shapes`` (L, 2), ``sampling_locations`` (N, Q, heads, L, P, 2),
        ``attention_weights`` (N, Q, heads, L, P), result (N, Q, heads * D).
    """
    dtype = compute_dtype(value)
    batch, _, heads, depth = value.shape
    queries = sampling_locations.shape[1]
    total = value.new_zeros((batch * heads, depth, queries), dtype=dtype)
    if total.numel():
        for level, (begin, height, width) in enumerate(_levels(value_spatial_shapes)):
            total += _attend(
                value[:, begin : begin + height * width].to(dtype),
                sampling_locations[:, :, :, level].to(dtype),
                attention_weights[:, :, :, level].to(dtype),
                (height, width),
            )
    merged = total.view(batch, heads * depth, queries).transpose(1, 2).contiguous()
    return merged.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int = 64,
) -> None:
    """Fill the gradients of :func:`ms_deform_attn_forward`.

    Args:
        value: As in the forward pass.
        value_spatial_shapes: As in the forward pass.
        value_level_start_index: As in the forward pass.
        sampling_locations: As in the forward pass.
        attention_weights: As in the forward pass.
        grad_output: Gradient of the result, (N, Q, heads * D).
        grad_value: Gradient of ``value``, filled in place.
        grad_sampling_loc: Gradient of ``sampling_locations``, filled in place.
        grad_attn_weight: Gradient of ``attention_weights``, filled in place.
        im2col_step: Unused.
    """
    if grad_output.numel() == 0:
        return
    dtype = compute_dtype(value)
    batch, _, heads, depth = value.shape
    grad = grad_output.to(dtype).transpose(1, 2).reshape(batch * heads, depth, -1)
    for level, (begin, height, width) in enumerate(_levels(value_spatial_shapes)):
        span = slice(begin, begin + height * width)
        inputs = [
            part.detach().to(dtype).requires_grad_()
            for part in (value[:, span], sampling_locations[:, :, :, level], attention_weights[:, :, :, level])
        ]
        with torch.enable_grad():
            sampled = _attend(inputs[0], inputs[1], inputs[2], (height, width))
        by_value, by_location, by_weight = torch.autograd.grad(sampled, inputs, grad)
        grad_value[:, span].copy_(by_value)
        grad_sampling_loc[:, :, :, level].copy_(by_location)
        grad_attn_weight[:, :, :, level].copy_(by_weight)


def _levels(spatial_shapes: Tensor) -> Iterator[tuple[int, int, int]]:
    """Start, height and width of each level.

    Reading the sizes copies them to the host once a call; mmcv's module compares their product with the number of
    values before it comes here, so the device has already been waited for.
    """
    begin = 0
    for height, width in spatial_shapes.tolist():
        yield begin, height, width
        begin += height * width


def _attend(value: Tensor, locations: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """One level: (N, H*W, heads, D), (N, Q, heads, P, 2), (N, Q, heads, P) to (N*heads, D, Q)."""
    batch, _, heads, depth = value.shape
    image = value.permute(0, 2, 3, 1).reshape(batch * heads, depth, *size)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    sampled = F.grid_sample(image, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return (sampled * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
