"""Linear systems solved step by step, many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_TINY = 1e-12


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    wanted: Tensor,
    iterations: int,
    start: Tensor | None = None,
    dims: Sequence[int] = (-2, -1),
) -> Tensor:
    """Steps towards the ``x`` with ``apply(x) = wanted``.

    Args:
        apply: A symmetric positive map, the same for all systems.
        wanted: Its result.
        iterations: How many steps.
        start: First guess; None: zeros.
        dims: What belongs to one system: one step length for all of it.
    """

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dim=tuple(dims), keepdim=True)

    x = torch.zeros_like(wanted) if start is None else start
    rest = wanted if start is None else wanted - apply(x)
    way, size = rest, product(rest, rest)
    for _ in range(iterations):
        seen = apply(way)
        length = size / (product(way, seen) + _TINY)
        x, rest = x + length * way, rest - length * seen
        before, size = size, product(rest, rest)
        way = rest + size / (before + _TINY) * way
    return x
