"""Losses of learned anomaly maps, on probabilities (APRIL-GAN and the methods after it)."""

from __future__ import annotations

import torch
from torch import Tensor


def probability_focal_loss(probabilities: Tensor, labels: Tensor, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Focal loss of class probabilities: ``-(1 - p)^gamma log p`` of each pixel's class, with slightly soft labels.

    Args:
        probabilities: Sum to 1 over the classes.
        labels: Class of each pixel.
        gamma: How much sure pixels count less.
        smooth: Labels are cut to ``[smooth / (C - 1), 1 - smooth]``, and p is raised by it.

    Shape:
        - probabilities: :math:`(N, C, H, W)`; labels: :math:`(N, H, W)`; result: a scalar
    """
    classes = probabilities.shape[1]
    numbers = torch.arange(classes, device=labels.device).view(1, -1, 1, 1)
    targets = labels.unsqueeze(1) == numbers
    soft = targets.to(probabilities.dtype).clamp(smooth / (classes - 1), 1 - smooth)
    p = (soft * probabilities).sum(dim=1) + smooth
    return (-((1 - p) ** gamma) * p.log()).mean()


def probability_dice_loss(probabilities: Tensor, labels: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the Dice overlap of a probability map with a mask, mean over pictures.

    Args:
        probabilities: Of the abnormal state.
        labels: 1 for abnormal pixels.
        smooth: Added to both parts of the fraction, so that empty masks have a value.

    Shape:
        - probabilities, labels: :math:`(N, H, W)`; result: a scalar
    """
    masks = labels.to(probabilities.dtype)
    overlap = (probabilities * masks).flatten(1).sum(dim=1)
    total = (probabilities + masks).flatten(1).sum(dim=1)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()
