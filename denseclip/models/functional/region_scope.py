"""Who may look at whom: patches of one region, where regions that another network sees as one are one (CorrCLIP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Box, Size, nearest, size_of
from denseclip.core.precision import full_precision

_FEW = 16
"""Planes that may be empty without costing much."""


@dataclass(frozen=True)
class RegionMaps:
    """Regions of the pixels of a batch.

    Attributes:
        numbers: 0 to ``count - 1``; negative where a pixel belongs to no region. The last number is that of padding.
        count: How many numbers there may be.

    Shape:
        - numbers: :math:`(N, H, W)`, int64
    """

    numbers: Tensor
    count: int

    @classmethod
    def of(cls, pictures: Sequence[Tensor], boxes: Sequence[Box], size: Size) -> RegionMaps:
        """From region numbers of any kind.

        Args:
            pictures: Numbers (h, w) of each picture, negative for none; other pictures may use the same numbers.
            boxes: Where each picture lies in its input.
            size: Of the inputs.
        """
        ranks = []
        for numbers in pictures:
            # Pixels of no region are one entry more, so that the lowest number stands for them, there or not.
            found = torch.cat([numbers.flatten().clamp_min(-1), numbers.new_full((1,), -1)])
            ranks.append(torch.unique(found, return_inverse=True)[1][:-1].view_as(numbers) - 1)
        count = max(int(numbers.max()) for numbers in ranks) + 2
        maps = ranks[0].new_full((len(ranks), *size), count - 1)
        for picture, numbers, (top, bottom, left, right) in zip(maps, ranks, boxes, strict=True):
            picture[top:bottom, left:right] = nearest(numbers, (bottom - top, right - left))
        return cls(maps, count)

    def windows(self, boxes: Sequence[Box]) -> RegionMaps:
        """What is seen through windows of one size, one window after another."""
        return RegionMaps(torch.cat([self.numbers[:, t:b, left:right] for t, b, left, right in boxes]), self.count)

    def planes(self, size: Size, grid: Size) -> Tensor:
        """Which patches belong to each region.

        Args:
            size: Of the input that the patches are of; what it has more at the right and bottom is padding.
            grid: Height and width in patches.

        Returns:
            (N, 1 + count, hw) bool; the first plane is of the patches of no region.
        """
        height, width = size_of(self.numbers)
        room = (0, size[1] - width, 0, size[0] - height)
        on_grid = nearest(F.pad(self.numbers, room, value=self.count - 1), grid).flatten(1)
        known = torch.arange(-1, self.count, device=on_grid.device)
        return on_grid[:, None] == known[:, None]


@dataclass(frozen=True)
class RegionScope:
    """How regions narrow an affinity.

    Source: CorrCLIP (Zhang et al., ICCV 2025), scope reconstruction with mask merging.

    Attributes:
        merge: Regions whose mean features are nearer than this are one, also by way of others: the distance is that of
            the cosine from the largest one, and clusters are those of DBSCAN with single samples. None: none are.
        as_released: As in the authors' code: the region of the lowest number in a window counts as what belongs to no
            region, whether there is such a thing in the window or not.
    """

    merge: float | None = 0.2
    as_released: bool = False

    def __post_init__(self) -> None:
        if self.merge is not None and not 0 <= self.merge <= 2:
            raise ValueError(f'scope.merge={self.merge} is a distance of cosines, 0 to 2, or None.')

    @classmethod
    def given(cls, settings: Mapping[str, Any] | RegionScope | None) -> RegionScope | None:
        """From a config; None: nothing is narrowed."""
        return cls(**settings) if isinstance(settings, Mapping) else settings

    def __call__(self, logits: Tensor, features: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits that end at the borders of regions.

        Patches of one region see each other. Those of no region see, and are seen by, all that are more alike than the
        mean of the window.

        Args:
            logits: Of the patches, larger for patches more alike.
            features: What they were taken from.
            planes: See :meth:`RegionMaps.planes`.

        Returns:
            The logits, and the regions after merging.

        Shape:
            - logits: :math:`(N, hw, hw)`; features: :math:`(N, C, h, w)`; planes: :math:`(N, R, hw)`, bool
            - regions after merging: :math:`(N, R', hw)`, bool
        """
        with full_precision(features.device.type):
            if self.as_released:
                planes = _lowest_first(planes)
            planes = without_empty(planes)  # merging compares all with all
            if self.merge is not None:
                planes = merged_regions(planes, features.float(), self.merge)
            inside = planes[:, 1:].float()
            together = inside.transpose(1, 2) @ inside > 0
            alike = logits > logits.mean(dim=(1, 2), keepdim=True)
        free = planes[:, 0]
        itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
        seen = together | itself | ((free[:, :, None] | free[:, None]) & alike)
        return logits.masked_fill(~seen, float('-inf')), without_empty(planes)


def _lowest_first(planes: Tensor) -> Tensor:
    """Planes of which the first that is not empty is put at the front, in place of the one there."""
    lowest = planes.any(dim=2).to(torch.uint8).argmax(dim=1)
    order = torch.arange(planes.shape[1], device=planes.device)
    at_front = order == lowest[:, None]
    front = (planes & at_front[..., None]).any(dim=1, keepdim=True)
    return torch.cat([front, (planes & ~at_front[..., None])[:, 1:]], dim=1)


def merged_regions(planes: Tensor, features: Tensor, distance: float) -> Tensor:
    """Regions of which those with like features are one.

    Args:
        planes: Regions; the first, of the patches of no region, stays as it is.
        features: Of the patches.
        distance: See :class:`RegionScope`.

    Shape:
        - planes and result: :math:`(N, R, hw)`, bool; features: :math:`(N, C, h, w)`
    """
    regions = planes[:, 1:]
    unit = F.normalize(features.flatten(2), dim=1).transpose(1, 2)
    shares = regions.float() / regions.sum(dim=2, keepdim=True).clamp_min(1)
    means = F.normalize(shares @ unit, dim=2)
    cosines = means @ means.transpose(1, 2)
    there = regions.any(dim=2)
    pairs = there[:, :, None] & there[:, None]
    largest = cosines.masked_fill(~pairs, -1.0).amax(dim=(1, 2), keepdim=True)
    joined = pairs & (largest - cosines <= distance)
    joined = joined | torch.eye(joined.shape[1], dtype=torch.bool, device=joined.device)
    steps = 1
    while steps < joined.shape[1]:  # each squaring doubles the steps that a chain of regions may have
        reach = joined.float()
        joined, steps = reach @ reach > 0, steps * 2
    first = joined.to(torch.uint8).argmax(dim=2)  # the lowest number of a cluster stands for all of it
    stands = first[:, None] == torch.arange(joined.shape[1], device=first.device)[:, None]
    merged = stands.float() @ regions.float() > 0
    return torch.cat([planes[:, :1], merged], dim=1)


def without_empty(planes: Tensor) -> Tensor:
    """Planes with those that are not empty first, and no more than the fullest window has; the first stays first.

    Few planes stay as they are: to count them is to wait for the device.

    Shape:
        - planes: :math:`(N, R, hw)`, bool; result: :math:`(N, R', hw)`
    """
    if planes.shape[1] <= _FEW:
        return planes
    there = planes.any(dim=2)
    there[:, 0] = True
    order = there.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    sorted_planes = planes.gather(1, order[..., None].expand_as(planes))
    kept = torch.arange(planes.shape[1], device=planes.device) < there.sum(dim=1).amax()
    return sorted_planes[:, kept]
