"""The subspace in which the patches of good pictures lie, and how far a patch is from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PatchMoments:
    """Number, sum and second moments of patches, in float64: they can be added up, and taken away again.

    Attributes:
        count: Number of patches.
        total: Their sum, (C,).
        second: Sum of their outer products, (C, C).
    """

    count: int
    total: Tensor
    second: Tensor

    @classmethod
    def of(cls, patches: Tensor) -> PatchMoments:
        """Moments of patches (P, C)."""
        exact = patches.double()
        return cls(len(exact), exact.sum(dim=0), exact.T @ exact)

    def __add__(self, other: PatchMoments) -> PatchMoments:
        return PatchMoments(self.count + other.count, self.total + other.total, self.second + other.second)

    def __sub__(self, other: PatchMoments) -> PatchMoments:
        return PatchMoments(self.count - other.count, self.total - other.total, self.second - other.second)

    def subspace(self, variance: float = 0.99) -> Subspace:
        """The fewest principal directions that keep a share of the variance.

        Args:
            variance: The share, 0..1.

        Raises:
            ValueError: Without two patches, or if the share is none.

        Source: SubspaceAD (CVPR 2026), section 3.
        """
        if self.count < 2:
            raise ValueError(f'a subspace needs at least two patches, got {self.count}')
        if not 0 < variance <= 1:
            raise ValueError(f'variance={variance} must be above 0 and at most 1')
        mean = self.total / self.count
        covariance = (self.second - self.count * torch.outer(mean, mean)) / (self.count - 1)
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        kept = values.cumsum(0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
        size = min(int((kept < variance).sum()) + 1, len(values))
        return Subspace(mean, vectors[:, :size], values[:size])


@dataclass(frozen=True)
class Subspace:
    """An affine subspace.

    Attributes:
        mean: A point of it, (C,), float64.
        directions: Orthonormal columns, (C, k), float64.
        variances: Of the patches along them, falling, (k,), float64.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor

    def residual(self, patches: Tensor) -> Tensor:
        """Distance of patches (P, C) from the subspace, (P,), in their dtype."""
        mean, directions = self.mean.to(patches), self.directions.to(patches)
        centred = patches - mean
        return (centred - (centred @ directions) @ directions.T).norm(dim=1)
