"""Cross entropy at the size of the labels that never holds more than a few rows of the enlarged logits.

K classes at full size are the largest tensors of a training step: the logits, their softmax and the gradient of both,
for every head. The gradient of a loss is known as soon as the loss is, so both are taken a few rows at a time, and only
the gradient of the small logits is kept for the backward pass. Source of the idea: "Liger Kernel" (Hsu et al., 2024),
there for the words of language models.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from denseclip.core.placement import size_of

from .product_resize import resize_matrix

_NUMBERS = 4 << 20  # most of the enlarged logits at a time: 16 MiB
_IN_CACHE = 1 << 19  # better on a CPU, unless the small rows between two parts are then enlarged too often
_ROWS = 32


def enlarged_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum over the pixels of the cross entropy of logits enlarged bilinearly (``align_corners=False``) to the labels.

    Args:
        logits: Small ones, float32.
        labels: Classes and ``ignore_index``.
        ignore_index: Pixels with it have no loss.
        class_weight: What a pixel of each class counts; None: 1.

    Returns:
        The sum, and how many labelled pixels have their class's logit highest.

    Raises:
        ValueError: If a label is out of range.

    Shape:
        - logits: :math:`(N, K, h, w)`; labels: :math:`(N, H, W)`; class_weight: :math:`(K,)`
    """
    known = labels != ignore_index
    wrong = known & ((labels < 0) | (labels >= logits.shape[1]))
    if bool(wrong.any()):
        raise ValueError(
            f'labels hold class {int(labels[wrong][0])}, but there are {logits.shape[1]} classes (ignored: '
            f'{ignore_index})'
        )
    loss, right = _EnlargedCrossEntropy.apply(logits, labels, known, class_weight)
    return loss, right


class _EnlargedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, known: Tensor, class_weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        (height, width), classes = size_of(labels), logits.shape[1]
        heights = resize_matrix(logits.shape[2], height)  # on the CPU: which rows are used is known without waiting
        down = heights.to(logits)
        across = resize_matrix(logits.shape[3], width).to(logits)
        slope = torch.zeros_like(logits)
        loss = torch.zeros((), dtype=logits.dtype, device=logits.device)
        right = torch.zeros((), dtype=torch.long, device=logits.device)
        row = classes * width
        most = _NUMBERS if logits.device.type != 'cpu' else min(_NUMBERS, max(_IN_CACHE, _ROWS * row))
        step = max(1, most // row)
        for start in range(0, height, step):
            rows = slice(start, min(start + step, height))
            # a bilinear row lies between two small rows: only these take part
            used = heights[rows].amax(dim=0).nonzero()[:, 0]
            part = slice(int(used[0]), int(used[-1]) + 1)
            weights = down[rows, part]
            for picture in range(len(logits)):
                wide = logits[picture, :, part] @ across.T
                scores = weights @ wide
                added, hits = _turn_into_slope(scores, labels[picture, rows], known[picture, rows], class_weight)
                loss += added
                right += hits
                slope[picture, :, part] += (weights.T @ scores) @ across
        ctx.save_for_backward(slope)
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, right: Tensor) -> tuple[Tensor, None, None, None]:
        del right
        (slope,) = ctx.saved_tensors
        return slope * loss, None, None, None


def _turn_into_slope(
    scores: Tensor, labels: Tensor, known: Tensor, class_weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss of some rows and number of right pixels; the scores (K, R, W) become the gradient of the loss, in place."""
    place = labels.where(known, 0).long()[None]
    own, highest = scores.gather(0, place)[0], scores.amax(dim=0)
    right = ((own >= highest) & known).sum()
    weight = known.to(scores)
    if class_weight is not None:
        weight *= class_weight.to(scores)[place[0]]
    scores -= highest
    own = own - highest
    scores.exp_()
    total = scores.sum(dim=0)
    loss = ((total.log() - own) * weight).sum()
    scores *= weight / total
    scores.scatter_add_(0, place, -weight[None])
    return loss, right
