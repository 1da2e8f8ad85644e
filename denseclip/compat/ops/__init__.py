"""Operators of ``mmcv._ext`` in plain PyTorch and torchvision.

``mmcv-lite`` ships the Python side of mmcv's operators but not the compiled extension they call. This package holds
drop-in functions with the extension's names, argument names and in-place output convention, so that mmcv's own
autograd functions run on top of them on any device. :data:`OPS` maps each extension function to its replacement;
every other name resolves to a function that raises :class:`NotImplementedError` when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from denseclip.compat.ops.boxes import bbox_overlaps
from denseclip.compat.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from denseclip.compat.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from denseclip.compat.ops.ms_deform_attn import ms_deform_attn_backward, ms_deform_attn_forward
from denseclip.compat.ops.nms import nms, nms_match, softnms
from denseclip.compat.ops.roi_align import roi_align_backward, roi_align_forward
from denseclip.compat.ops.roi_pool import roi_pool_backward, roi_pool_forward
from denseclip.compat.ops.unavailable import get_compiler_version, get_compiling_cuda_version, unavailable

__all__ = ['OPS', 'resolve', 'unavailable']

OPS: dict[str, Callable[..., Any]] = {
    op.__name__: op
    for op in (
        bbox_overlaps,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        deform_conv_forward,
        get_compiler_version,
        get_compiling_cuda_version,
        modulated_deform_conv_backward,
        modulated_deform_conv_forward,
        ms_deform_attn_backward,
        ms_deform_attn_forward,
        nms,
        nms_match,
        roi_align_backward,
        roi_align_forward,
        roi_pool_backward,
        roi_pool_forward,
        sigmoid_focal_loss_backward,
        sigmoid_focal_loss_forward,
        softmax_focal_loss_backward,
        softmax_focal_loss_forward,
        softnms,
    )
}


def resolve(name: str) -> Callable[..., Any]:
    """Find the replacement of one ``mmcv._ext`` function.

    Args:
        name: Function name in the compiled extension.

    Returns:
        The replacement, or a function that raises :class:`NotImplementedError` naming the operator.
    """
    return OPS.get(name) or unavailable(name)
