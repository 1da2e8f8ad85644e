"""Keys turned towards the queries of their head before the two are compared (PEARL)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from denseclip.core.precision import full_precision

_TINY = 1e-6


@dataclass(frozen=True)
class Alignment:
    """How keys are turned.

    Attributes:
        kk: Weight of the centred keys' own comparison in the same softmax.
        iterations: See :func:`polar_factor`; 5 in PEARL's code.
        special: Tokens before the patches, which do not count in the centres.
    """

    kk: float = 0.08
    iterations: int | None = 5
    special: int = 1


def polar_factor(matrix: Tensor, iterations: int | None = None) -> Tensor:
    """The orthogonal matrix nearest to a matrix, or a few Newton-Schulz steps on the way to it.

    Small singular values grow by no more than half in a step: five steps, as in PEARL's code, leave them small, and the
    result turns and also shrinks. PEARL's text has the orthogonal matrix.

    Args:
        matrix: Square matrices.
        iterations: How many steps; None: the orthogonal matrix itself, by its singular vectors.

    Shape:
        - matrix and result: :math:`(..., d, d)`
    """
    if iterations is None:
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        return left @ right
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    gram = matrix.transpose(-1, -2) @ matrix
    size = gram.flatten(-2).norm(dim=-1).clamp_min(_TINY)[..., None, None]
    root, inverse = gram / size + _TINY * identity, identity.expand_as(gram)
    for _ in range(iterations):
        step = 0.5 * (3.0 * identity - inverse @ root)
        root, inverse = root @ step, step @ inverse
    return matrix @ (inverse / size.sqrt())


def aligned_sides(q: Tensor, k: Tensor, align: Alignment | None = None) -> tuple[Tensor, Tensor]:
    """Two sides whose product is ``q (k R)^T + kk k_c k_c^T``: one softmax over both comparisons.

    R turns the centred keys onto the centred queries (orthogonal Procrustes), each centre being the mean weighted by
    the lengths of the queries. ``k_c`` are the centred keys. R is computed in float32 under autocast.

    Source: PEARL (Pei et al., CVPR 2026), section on Procrustes alignment; constants of ``pearl/attn.py`` at c26062b.

    Args:
        q: Queries.
        k: Keys.
        align: Settings; None: those of PEARL.

    Shape:
        - q and k: :math:`(N, heads, L, d)`; results: :math:`(N, heads, L, 2d)`
    """
    how = align if align is not None else Alignment()
    with full_precision(q.device.type):
        left, right = _sides(q.float(), k.float(), how)
    return left.to(q.dtype), right.to(k.dtype)


def _sides(queries: Tensor, keys: Tensor, how: Alignment) -> tuple[Tensor, Tensor]:
    lengths = queries.norm(dim=-1, keepdim=True)
    weights = torch.cat([torch.zeros_like(lengths[..., : how.special, :]), lengths[..., how.special :, :]], dim=-2)
    weights = weights / (weights.sum(dim=-2, keepdim=True) + _TINY)
    centred_q, centred_k = (t - (weights * t).sum(dim=-2, keepdim=True) for t in (queries, keys))
    turn = polar_factor(centred_k.transpose(-1, -2) @ centred_q, how.iterations)
    return torch.cat([queries, how.kk * centred_k], dim=-1), torch.cat([keys @ turn, centred_k], dim=-1)
