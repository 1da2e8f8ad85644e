"""Focal loss (Lin et al., ICCV 2017, equation 5) for sigmoid and softmax outputs.

The formulas are those of mmcv's CUDA kernels with one change: logarithms of probabilities come from
``logsigmoid`` where possible, which does not saturate for very wrong logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.compat.ops.precision import compute_dtype


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of every logit into ``output``.

    Args:
        input: Logits.
        target: Class of each row; a class that is not a column (background) makes all columns negative.
        weight: Weight of each class, or empty. Background rows take the last class's weight.
        output: Result, filled in place.
        gamma: Focusing parameter.
        alpha: Weight of positives; negatives take ``1 - alpha``.

    Shape:
        ``input`` and ``output`` (N, C), ``target`` (N,) of ``int64``, ``weight`` (C,) or (0,).
    """
    logits = input.to(compute_dtype(input))
    signed, balance, _ = _towards_target(logits, target, alpha)
    loss = -balance * torch.sigmoid(-signed).pow(gamma) * F.logsigmoid(signed)
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of :func:`sigmoid_focal_loss_forward` by each logit into ``grad_input``."""
    logits = input.to(compute_dtype(input))
    signed, balance, positive = _towards_target(logits, target, alpha)
    wrong = torch.sigmoid(-signed)
    slope = -balance * wrong.pow(gamma) * (wrong - gamma * torch.sigmoid(signed) * F.logsigmoid(signed))
    grad_input.copy_(_weighted(torch.where(positive, slope, -slope), target, weight))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss of every row into ``output``.

    Args:
        input: Probabilities after softmax.
        target: Class of each row; rows whose class is not a column (negative labels) have no loss.
        weight: Weight of each class, or empty.
        output: Result, filled in place.
        gamma: Focusing parameter.
        alpha: Weight of the loss.

    Shape:
        ``input`` (N, C), ``target`` and ``output`` (N,), ``weight`` (C,) or (0,).
    """
    chosen, valid = _chosen_probability(input, target)
    loss = -alpha * (1 - chosen).pow(gamma) * _safe_log(chosen)
    output.copy_(_weighted(loss[:, None], target, weight).squeeze(1) * valid)


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of :func:`softmax_focal_loss_forward` by each logit into ``grad_input``.

    Args:
        input: Probabilities after softmax.
        target: Class of each row.
        weight: Weight of each class, or empty.
        buff: Scratch; receives the derivative by the log-probability of the target.
        grad_input: Result, filled in place.
        gamma: Focusing parameter.
        alpha: Weight of the loss.
    """
    chosen, valid = _chosen_probability(input, target)
    wrong = 1 - chosen
    # For gamma < 1 the power diverges at certainty while the logarithm vanishes; their product's limit is zero.
    focus = torch.where(wrong > 0, gamma * wrong.pow(gamma - 1) * chosen * _safe_log(chosen), torch.zeros_like(wrong))
    slope = _weighted((alpha * (focus - wrong.pow(gamma)))[:, None], target, weight).squeeze(1) * valid
    buff.copy_(slope)
    grad_input.copy_(slope[:, None] * (_is_target(input, target).to(slope.dtype) - input.to(slope.dtype)))


def _is_target(scores: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(scores.shape[1], device=scores.device, dtype=target.dtype)


def _towards_target(logits: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Flip negatives so that larger is better everywhere; also the alpha weight and the positives."""
    positive = _is_target(logits, target)
    balance = positive.to(logits.dtype) * (2 * alpha - 1) + (1 - alpha)
    return torch.where(positive, logits, -logits), balance, positive


def _chosen_probability(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    valid = (target >= 0) & (target < probabilities.shape[1])
    index = target.clamp(0, probabilities.shape[1] - 1)[:, None]
    return probabilities.to(compute_dtype(probabilities)).gather(1, index).squeeze(1), valid


def _safe_log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _weighted(rows: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    if weight.numel() == 0:
        return rows
    # Background is one past the last class: mmcv's kernel reads past the weights there, so the index is limited.
    return rows * weight.to(rows.dtype)[target.clamp(0, weight.numel() - 1)][:, None]
