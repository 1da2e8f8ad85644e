"""Region-of-interest max pooling with mmcv's bin edges.

torchvision's ``roi_pool`` rounds region corners to whole feature pixels; mmcv keeps them fractional and rounds each
bin outwards (``roi_pool_cuda_kernel.cuh``). Only integer corners at scale 1 agree, so this is written out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype

_CHUNK_ELEMENTS = 1 << 24
"""Feature values copied at once (64 MiB of float32): bounds memory for many regions."""


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Take the largest value of every bin of every region.

    Args:
        input: Feature maps.
        rois: Regions as ``(batch index, x1, y1, x2, y2)`` in image coordinates, far corner inclusive.
        output: Result, filled in place; empty bins are zero.
        argmax: Position ``y * W + x`` of each maximum, filled in place; -1 for empty bins.
        pooled_height: Rows of bins.
        pooled_width: Columns of bins.
        spatial_scale: Image to feature coordinates.

    Shape:
        ``input`` (N, C, H, W), ``rois`` (R, 5), ``output`` and ``argmax`` (R, C, pooled_height, pooled_width).
    """
    _, channels, height, width = input.shape
    regions = rois.to(torch.promote_types(rois.dtype, torch.float32))
    begin, end = regions[:, 1:3] * spatial_scale, (regions[:, 3:5] + 1) * spatial_scale
    valid = (end > begin).all(dim=1, keepdim=True)
    columns = _bin_mask(begin[:, 0], end[:, 0], pooled_width, width) & valid[..., None]
    rows = _bin_mask(begin[:, 1], end[:, 1], pooled_height, height) & valid[..., None]
    batch = regions[:, 0].long()
    size = max(1, _CHUNK_ELEMENTS // max(1, channels * height * width))
    for start in range(0, rois.shape[0], size):
        part = slice(start, start + size)
        value, index = _pool(input.index_select(0, batch[part]), rows[part], columns[part])
        empty = index < 0
        output[part] = value.masked_fill(empty, 0).to(output.dtype)
        argmax[part] = index.to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Send each bin's gradient to the position of its maximum.

    Args:
        grad_output: Gradient of the result.
        rois: As in the forward pass.
        argmax: Positions from the forward pass.
        grad_input: Gradient of the feature maps, filled in place.
        pooled_height: Rows of bins.
        pooled_width: Columns of bins.
        spatial_scale: Image to feature coordinates.
    """
    images, channels, height, width = grad_input.shape
    channel = torch.arange(channels, device=rois.device, dtype=torch.long)
    plane = rois[:, :1].long() * channels + channel
    index = plane[:, :, None, None] * (height * width) + argmax.long().clamp(min=0)
    total = torch.zeros(images * channels * height * width, device=grad_output.device, dtype=compute_dtype(grad_output))
    total.index_add_(0, index.flatten(), grad_output.masked_fill(argmax < 0, 0).flatten().to(total.dtype))
    grad_input.copy_(total.view_as(grad_input))


def _bin_mask(begin: Tensor, end: Tensor, bins: int, size: int) -> Tensor:
    """Which feature positions each bin of each region covers along one axis: (R, bins, size)."""
    step = (end - begin) / bins
    number = torch.arange(bins, device=begin.device, dtype=begin.dtype)
    low = torch.floor(number * step[:, None] + begin[:, None]).clamp(0, size)
    high = torch.ceil((number + 1) * step[:, None] + begin[:, None]).clamp(0, size)
    position = torch.arange(size, device=begin.device, dtype=begin.dtype)
    return (position >= low[..., None]) & (position < high[..., None])


def _pool(features: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Masked maximum along x, then y: value and position, the first in reading order among equals."""
    lowest = torch.finfo(features.dtype).min
    along_x = [
        features.masked_fill(~columns[:, None, None, bin_], lowest).max(dim=-1) for bin_ in range(columns.shape[1])
    ]
    value_x = torch.stack([item.values for item in along_x], dim=-1)
    index_x = torch.stack([item.indices for item in along_x], dim=-1)
    values, positions = [], []
    for bin_ in range(rows.shape[1]):
        value, index_y = value_x.masked_fill(~rows[:, None, bin_, :, None], lowest).max(dim=2)
        chosen_x = index_x.gather(2, index_y[:, :, None]).squeeze(2)
        values.append(value)
        positions.append(index_y * features.shape[-1] + chosen_x)
    empty = ~(rows.any(-1)[:, None, :, None] & columns.any(-1)[:, None, None, :])
    return torch.stack(values, dim=2), torch.stack(positions, dim=2).masked_fill(empty, -1)
