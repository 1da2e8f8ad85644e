"""Region-of-interest align (He et al., Mask R-CNN, ICCV 2017, section 3) through torchvision's kernels."""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype

_MAX_POOLING = 0


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average bilinear samples of every bin of every region.

    Args:
        input: Feature maps.
        rois: Regions as ``(batch index, x1, y1, x2, y2)`` in image coordinates.
        output: Result, filled in place.
        argmax_y: Unused (only max pooling has it).
        argmax_x: Unused (only max pooling has it).
        aligned_height: Rows of bins.
        aligned_width: Columns of bins.
        spatial_scale: Image to feature coordinates.
        sampling_ratio: Samples a bin side; 0 adapts to the bin.
        pool_mode: 1 for average; 0 (max) is refused.
        aligned: Shift by half a pixel, as Detectron2 does.

    Raises:
        NotImplementedError: For max pooling.

    Shape:
        ``input`` (N, C, H, W), ``rois`` (R, 5), ``output`` (R, C, aligned_height, aligned_width).
    """
    if pool_mode == _MAX_POOLING:
        raise NotImplementedError(
            "RoIAlign(pool_mode='max') needs mmcv's compiled extension, which is not installed. "
            "Use pool_mode='avg', or build mmcv 2.1.0 from source (see docs/installation.md)."
        )
    dtype = compute_dtype(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            input.to(dtype), rois.to(dtype), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Spread the gradient of :func:`roi_align_forward` over the feature maps.

    Args:
        grad_output: Gradient of the result.
        rois: As in the forward pass.
        argmax_y: Unused.
        argmax_x: Unused.
        grad_input: Gradient of the feature maps, filled in place.
        aligned_height: Rows of bins.
        aligned_width: Columns of bins.
        spatial_scale: Image to feature coordinates.
        sampling_ratio: Samples a bin side.
        pool_mode: Always 1 here: the forward pass refuses max pooling.
        aligned: As in the forward pass.
    """
    dtype = compute_dtype(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output.to(dtype),
            rois.to(dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )
