"""Losses of CLIP-DINOiser's two convolutions.

Source: CLIP-DINOiser (Wysoczańska et al., ECCV 2024), section 3.4, as the authors' code computes them: the clamped
cosine itself is the logit. Its sigmoid therefore stays within [0.5, 0.731]: the correlation loss cannot fall below
0.313 for a pair that belongs together and 0.693 for one that does not, and a plateau near 0.5-0.6 is no failure.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def correlation_loss(correlation: Tensor, teacher: Tensor, gamma: float) -> Tensor:
    """Binary cross-entropy between our correlations and "the teacher's are at least ``gamma``".

    Args:
        correlation: Our cosines; negative ones count as 0 and get no gradient.
        teacher: The teacher's cosines.
        gamma: Threshold of the teacher's cosines.

    Shape:
        - correlation and teacher: :math:`(N, hw, h, w)`; result: a scalar
    """
    target = (teacher >= gamma).to(correlation.dtype)
    return F.binary_cross_entropy_with_logits(correlation.clamp(min=0.0), target)


def foreground_loss(logits: Tensor, teacher: Tensor, threshold: float = 0.5) -> Tensor:
    """Binary cross-entropy between our foreground logits and "the teacher's probability exceeds ``threshold``".

    Args:
        logits: Our foreground logits.
        teacher: The teacher's foreground probabilities in [0, 1].
        threshold: Of the teacher's probabilities.

    Shape:
        - logits and teacher: :math:`(N, 1, h, w)`; result: a scalar
    """
    return F.binary_cross_entropy_with_logits(logits, (teacher > threshold).to(logits.dtype))
