"""Pixel embeddings without what is linear in a prompt.

Source: Jalali et al., "Dissecting CLIP: Decomposition with a Schur Complement-based Approach" (2024), written from
its equation. There an embedding loses what a linear regression on its text explains, ``x - C_xt C_tt^-1 t``, so that
what is left has the Schur complement of the covariance. Pixels have no texts of their own; here the regression is on
the coordinates of the prompts ``T`` under the covariance ``C`` of the embeddings themselves, and they lose
``T (T' C^-1 T)^-1 T' C^-1 x``. What is left has the covariance ``C - T (T' C^-1 T)^-1 T'``, the Schur complement.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1.0
"""Part of the mean variance that is added to every direction: fewer embeddings than dimensions leave some without."""


def removal_matrix(prompts: Tensor, samples: Tensor, ridge: float = RIDGE) -> Tensor:
    """What takes prompts out of embeddings: ``matrix @ x``.

    Args:
        prompts: Embeddings of the prompts; linearly independent, or the pseudo-inverse is taken.
        samples: Embeddings whose covariance is taken.
        ridge: See :data:`RIDGE`; must be above 0.

    Raises:
        ValueError: If the widths differ, or there is nothing to remove or to learn from.

    Shape:
        - prompts: :math:`(P, E)`; samples: :math:`(M, E)`; result: :math:`(E, E)`, float64
    """
    if prompts.ndim != 2 or samples.ndim != 2 or prompts.shape[1] != samples.shape[1]:
        raise ValueError(f'prompts {tuple(prompts.shape)} and samples {tuple(samples.shape)} are no rows of one width')
    if not len(prompts) or not len(samples) or ridge <= 0:
        raise ValueError(f'{len(prompts)} prompts, {len(samples)} samples, ridge {ridge}: all must be above 0')
    rows, many = prompts.double().T, samples.double()
    covariance = many.T @ many / len(many)
    size = len(covariance)
    identity = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    covariance = covariance + ridge * covariance.trace() / size * identity
    weighed = torch.linalg.solve(covariance, rows)
    return identity - rows @ torch.linalg.pinv(rows.T @ weighed) @ weighed.T
