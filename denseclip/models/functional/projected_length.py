"""Length of a linear projection of every pixel, from few channels into many, without forming the projection."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from denseclip.core.values import has_values


def squared_lengths(pixels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``|W f + b|**2`` of every pixel f: a quadratic form in C dimensions instead of a map of E.

    Args:
        pixels: Features.
        weight: W.
        bias: b.

    Shape:
        - pixels: :math:`(N, C, P)`; weight: :math:`(E, C)`; bias: :math:`(E,)`; result: :math:`(N, P)`
    """
    gram, linear, constant = weight.T @ weight, 2 * (bias @ weight), bias @ bias
    if pixels.device.type == 'cpu' and has_values(pixels) and not torch.compiler.is_compiling():
        form: Tensor = _QuadraticForm.apply(pixels, gram, linear)
        return form + constant
    return ((gram @ pixels + linear.unsqueeze(1)) * pixels).sum(dim=1) + constant


class _QuadraticForm(torch.autograd.Function):
    """``f' G f + l' f`` with G symmetric, one picture at a time.

    PyTorch's own backward pass keeps ``G f`` and takes one more product of the whole map with G, and three more passes
    over it.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, gram: Tensor, linear: Tensor) -> Tensor:
        ctx.save_for_backward(pixels, gram, linear)
        rows = [((gram @ f).add_(linear.unsqueeze(1)).mul_(f)).sum(dim=0) for f in pixels]
        return torch.stack(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels, gram, linear = ctx.saved_tensors
        turned, of_gram, of_linear = torch.empty_like(pixels), torch.zeros_like(gram), torch.zeros_like(linear)
        for f, s, into in zip(pixels, slope, turned, strict=True):
            scaled = f * s
            of_gram.addmm_(scaled, f.T)
            of_linear += scaled.sum(dim=1)
            torch.outer(linear, s, out=into)
            into.addmm_(gram, scaled, alpha=2)
        return turned, of_gram, of_linear
