"""Nearest patches of good pictures: distances by chunks, and a memory of bounded size that covers what it has seen."""

from __future__ import annotations

import torch
from torch import Tensor

_PROJECTED = 32
_CHUNK = 2**22  # distances at once: 16 MB


def nearest_distances(patches: Tensor, memory: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Distance of every patch to the nearest one of a memory.

    Args:
        patches: Of a picture.
        memory: What they are compared with.
        allowed: Which of it counts, bool; None: all.

    Shape:
        - patches: :math:`(P, C)`; memory: :math:`(M, C)`; allowed: :math:`(M)`; result: :math:`(P)`

    Raises:
        ValueError: If nothing of the memory counts.
    """
    if allowed is not None:
        memory = memory[allowed]
    if not len(memory):
        raise ValueError('there is no patch to compare with')
    rows = max(1, _CHUNK // len(memory))
    return torch.cat([torch.cdist(part, memory).amin(dim=1) for part in patches.split(rows)])


def greedy_coreset(patches: Tensor, count: int) -> Tensor:
    """Patches such that every other one is close to one of them: the farthest is taken again and again.

    The first is the farthest from the mean, so that nothing is left to chance but the projection, whose seed is fixed.

    Args:
        patches: All patches, (P, C).
        count: How many to keep.

    Returns:
        Their numbers, rising, (min(count, P),).

    Source: PatchCore (Roth et al., CVPR 2022), algorithm 1, with a random projection (to 128 dimensions there).
    """
    if count >= len(patches):
        return torch.arange(len(patches), device=patches.device)
    points = patches.float()
    if points.shape[1] > _PROJECTED:
        generator = torch.Generator().manual_seed(0)
        projection = torch.randn(points.shape[1], _PROJECTED, generator=generator) / _PROJECTED**0.5
        points = points @ projection.to(points)
    squares = points.square().sum(dim=1)
    farthest = (points - points.mean(dim=0)).square().sum(dim=1).argmax()
    nearest = points.new_full((len(points),), float('inf'))
    kept = []
    for _ in range(count):
        kept.append(farthest)
        distance = squares + squares[farthest] - 2 * (points @ points[farthest])
        nearest = torch.minimum(nearest, distance)
        nearest[farthest] = -float('inf')
        farthest = nearest.argmax()
    return torch.stack(kept).sort().values


class PatchMemory:
    """Patches of good pictures, each with the number of its picture; no more than a bound of them are kept.

    All are kept until there are twice as many as ``capacity``; then a coreset of ``capacity`` remains, and of what
    comes later only what is farther from it than any patch that it stands for.

    Args:
        capacity: Size of the coreset.

    Attributes:
        reduced: Whether a coreset is all that is left. It covers all pictures together: without the patches of one of
            them it has holes.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError(f'capacity={capacity} must be at least 1')
        self.capacity = capacity
        self.reduced = False
        self._patches: list[Tensor] = []
        self._owners: list[Tensor] = []
        self._radius = 0.0

    def __len__(self) -> int:
        return sum(len(part) for part in self._patches)

    def add(self, patches: Tensor, owner: int) -> None:
        """Add the patches (P, C) of a picture."""
        if self._radius > 0:
            self._join()
            patches = patches[nearest_distances(patches, self._patches[0]) > self._radius]
        self._patches.append(patches)
        self._owners.append(torch.full((len(patches),), owner, device=patches.device))
        if len(self) > 2 * self.capacity:
            self._reduce()

    def _join(self) -> None:
        if len(self._patches) > 1:
            self._patches, self._owners = [torch.cat(self._patches)], [torch.cat(self._owners)]

    def _reduce(self) -> None:
        self._join()
        [patches], [owners] = self._patches, self._owners
        kept = greedy_coreset(patches, self.capacity)
        self._patches, self._owners = [patches[kept]], [owners[kept]]
        self._radius = float(nearest_distances(patches, patches[kept]).max())
        self.reduced = True

    def distances(self, patches: Tensor, but: int | None = None) -> Tensor:
        """Distance of patches (P, C) to the nearest one kept, (P,).

        Args:
            patches: Of a picture.
            but: Number of a picture whose own patches do not count.

        Raises:
            ValueError: If nothing is left to compare with.
        """
        if not self._patches:
            raise ValueError('the memory is empty: give good pictures first')
        self._join()
        allowed = None if but is None else self._owners[0] != but
        return nearest_distances(patches, self._patches[0], allowed)
