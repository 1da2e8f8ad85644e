"""The loss of DINO: what the student says of one view, a sharpened and centred teacher said of another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor


def dino_loss(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    r"""Mean cross-entropy over all pairs of different views.

    .. math:: \frac{1}{|P|} \sum_{(i, j) \in P} -\,p_i \cdot \log \mathrm{softmax}(s_j / \tau), \quad
        P = \{(i, j): i \neq j\}

    Args:
        student: Scores of all views; the first of them are the teacher's views.
        target: Probabilities that the teacher gives the large views; no gradient flows into them.
        temperature: :math:`\tau`.

    Shape:
        - student: :math:`(V, N, K)`
        - target: :math:`(G, N, K)` with :math:`G \le V`

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, equation 3 and
    algorithm 1.
    """
    log_probability = F.log_softmax(student / temperature, dim=-1)
    pairs = -torch.einsum('gnk,vnk->gv', target.detach(), log_probability) / student.shape[1]
    large, views = pairs.shape
    other = ~torch.eye(large, views, dtype=torch.bool, device=pairs.device)
    return (pairs * other).sum() / other.sum()


def centred_target(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    r"""The paper's target :math:`\mathrm{softmax}((t - c) / \tau)`.

    Args:
        scores: Of the teacher, (..., K).
        centre: Running mean of its scores, (K).
        temperature: :math:`\tau`; small values make the target sharp.
    """
    return F.softmax((scores - centre) / temperature, dim=-1)


def balanced_target(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """A target that uses all prototypes equally over the batches of all processes (Sinkhorn-Knopp).

    It needs no running mean, so that it guards against collapse from the first step on.

    Args:
        scores: Of the teacher, (..., K).
        temperature: Sharpness, as in :func:`centred_target`.
        iterations: Of the balancing.

    Returns:
        Probabilities, (..., K).

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
    section 3.1; in place of DINO's centring: Oquab et al., "DINOv2", 2023, section 4.
    """
    table = scores.detach().flatten(0, -2).float() / temperature
    highest = table.max()
    all_reduce(highest, 'max')
    table = (table - highest).exp() + 1e-30
    for _ in range(iterations):
        used = table.sum(dim=0)
        all_reduce(used, 'sum')
        table = table / used
        table = table / table.sum(dim=1, keepdim=True)
    return table.to(scores.dtype).view_as(scores)
