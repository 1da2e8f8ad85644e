"""Background from a foreground map: what no class is sure of and no object covers.

Source: CLIP-DINOiser (Wysoczańska et al., ECCV 2024), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uncertain_background(probabilities: Tensor, delta: float) -> Tensor:
    """Places whose best class has a probability below ``delta``.

    Shape:
        - probabilities: :math:`(N, K, h, w)`
        - result: :math:`(N, 1, h, w)`, bool
    """
    return probabilities.amax(dim=1, keepdim=True) < delta


def assign_background(probabilities: Tensor, foreground: Tensor, delta: float, index: int = 0) -> Tensor:
    """Give the background class probability 1 where the best class is uncertain and nothing stands in the foreground.

    The other classes keep their probabilities, so the rows of such places no longer sum to 1. Every picture of a batch
    is treated by itself (the authors' code indexes the flattened batch and is right for one picture only).

    Args:
        probabilities: Class probabilities in [0, 1].
        foreground: True on objects.
        delta: Probability below which a class is uncertain, in [0, 1].
        index: Which class is the background.

    Shape:
        - probabilities and result: :math:`(N, K, h, w)`
        - foreground: :math:`(N, 1, h, w)`, bool
    """
    background = uncertain_background(probabilities, delta) & ~foreground
    is_class = torch.arange(probabilities.shape[1], device=probabilities.device).view(1, -1, 1, 1) == index
    return probabilities.masked_fill(background & is_class, 1.0)
