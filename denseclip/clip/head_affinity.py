"""Affinity of patches head by head: a block's own keys completed by those of another network (CASS)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision
from denseclip.core.values import has_values

from .nearness import near_by_axis
from .token_repair import parts_of_rows

PAIRINGS = ('released', 'matched', 'same')


@dataclass(frozen=True)
class HeadAffinity:
    """Takes the place of :class:`denseclip.clip.attention.Affinity` in a guide: attention of patches, head by head.

    Keys are compared with keys: the block's own, and another network's, of which only the strongest directions count.
    Heads are paired so that their spectra differ most, and the more they differ, the more the other network says.

    Source: CASS (Kim et al., CVPR 2025), spectral object-level context distillation.

    Attributes:
        keys: The other network's; its channels are divided among the block's heads.
        rank: Directions of them that count; the authors' search for a share of the energy always ends at 10.
        spectrum: Largest eigenvalues by which heads are paired.
        strength: Weight of the other network's heads, times the distance of the spectra.
        gaussian: Standard deviation, in patches, of the preference for near patches.
        stretch: Pull the singular values apart, as the code does for all sets but VOC20 and Cityscapes.
        pairing: ``'matched'``: heads as they were paired. ``'released'``: as the authors' code takes the pairs, which
            reads them the other way round. ``'same'``: each with that of its number, equally strong.

    Shape:
        - keys: :math:`(N, C, h, w)`
    """

    keys: Tensor
    rank: int = 10
    spectrum: int = 20
    strength: float = 10.0
    gaussian: float = 5.0
    stretch: bool = True
    pairing: str = 'released'

    def __post_init__(self) -> None:
        if self.pairing not in PAIRINGS:
            raise ValueError(f"pairing='{self.pairing}' is unknown; choose from {', '.join(PAIRINGS)}.")
        if self.rank < 1 or self.spectrum < 1 or self.strength < 0 or self.gaussian <= 0:
            raise ValueError('rank and spectrum must be 1 or more, strength 0 or more, gaussian above 0.')

    def average(self, own: Tensor, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """Values averaged by the attention of each head. Computed in float32 under autocast.

        Rows of patches x patches matrices are made a few at a time.

        Args:
            own: Keys of the block's patches.
            values: Their values.
            grid: Height and width of the patches; the other network's keys are resized to it.

        Shape:
            - own, values and result: :math:`(N, heads, hw, d)`
        """
        with full_precision(values.device.type):
            keys = F.interpolate(self.keys.float(), size=grid, mode='bilinear', align_corners=False)
            if keys.shape[1] % own.shape[1]:
                raise ValueError(
                    f"the other network's {keys.shape[1]} channels cannot be divided among CLIP's {own.shape[1]} heads."
                )
            other = keys.flatten(2).unflatten(1, (own.shape[1], -1)).transpose(2, 3)
            near = _near(grid, self.gaussian, values.device)
            pictures = zip(own.float(), other, values.float(), strict=True)
            found = torch.stack([self._picture(*picture, near) for picture in pictures])
        return found.to(values.dtype)

    def _picture(self, own: Tensor, other: Tensor, values: Tensor, near: tuple[Tensor, Tensor]) -> Tensor:
        """:meth:`average` of one picture, (heads, L, d)."""
        scale = own.shape[-1] ** -0.5
        other = _into_range(other, other.amin(), other.amax(), own.amin(), own.amax())
        which, weights = self._pairs(other, own, scale)
        factors = self._factors(other[which] * scale**0.5)
        of_own = _Rows(own * scale, own)
        of_other = _Rows(factors[0], factors[1], diagonal=0.0)
        own_range, other_range = of_own.range(), of_other.range()
        share = weights[:, None, None]
        parts = []
        for rows, both in zip(of_own.parts(), zip(of_own, of_other, strict=True), strict=True):
            completed = _into_range(both[1], *other_range, *own_range)
            logits = (share * completed + both[0]) / (share + 1)
            nearness = (near[0][rows][:, :, None] * near[1][rows][:, None, :]).flatten(1)
            parts.append((logits + nearness).softmax(dim=-1) @ values)
        return torch.cat(parts, dim=1)

    def _pairs(self, other: Tensor, own: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """For each head of the block, which of the other network goes with it, and that one's weight."""
        heads = own.shape[0]
        number = torch.arange(heads, device=own.device)
        if self.pairing == 'same':
            return number, torch.ones(heads, device=own.device)
        theirs, ours = (_spectrum(t, self.spectrum, scale) for t in (other, own))
        distance = (theirs[:, None] - ours[None]).abs().sum(dim=-1)
        partner = _farthest_pairs(distance)
        weights = distance.gather(1, partner[:, None])[:, 0]
        if self.pairing == 'released':
            return partner, self.strength * weights
        back = partner.argsort()
        return back, self.strength * weights[back]

    def _factors(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Two (heads, L, rank) factors of the keys' comparison, its strongest directions alone."""
        left, lengths, _ = torch.linalg.svd(keys.double(), full_matrices=False)
        left, values = left[..., : self.rank], lengths[..., : self.rank].square()
        missing = max(min(self.rank, keys.shape[1]) - values.shape[-1], 0)  # heads of few channels
        left, values = F.pad(left, (0, missing)), F.pad(values, (0, missing))
        if self.stretch and self.pairing != 'same':
            low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)
            target = 1.5 * high - 0.5 * low
            stretched = (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny) * target + 0.5 * low
            values = torch.where(high > low, stretched, values)
        return (left * values[:, None]).float(), left.float()


@dataclass(frozen=True)
class _Rows:
    """Rows of ``left right^T`` of all heads, a few at a time, with another diagonal if there is one."""

    left: Tensor
    right: Tensor
    diagonal: float | None = None

    def parts(self) -> Iterator[slice]:
        heads, length, _ = self.left.shape
        return parts_of_rows(length, heads * length)

    def __iter__(self) -> Iterator[Tensor]:
        number = torch.arange(self.left.shape[1], device=self.left.device)
        for rows in self.parts():
            product = self.left[:, rows] @ self.right.transpose(1, 2)
            if self.diagonal is not None:
                product = product.masked_fill(number[rows, None] == number, self.diagonal)
            yield product

    def range(self) -> tuple[Tensor, Tensor]:
        """Least and largest entry of each head, (heads, 1, 1)."""
        low, high = zip(*((part.amin(dim=(1, 2)), part.amax(dim=(1, 2))) for part in self), strict=True)
        return torch.stack(low).amin(dim=0)[:, None, None], torch.stack(high).amax(dim=0)[:, None, None]


def _into_range(x: Tensor, low: Tensor, high: Tensor, wanted_low: Tensor, wanted_high: Tensor) -> Tensor:
    """Numbers from one range in another; the middle of it where they are all the same."""
    width = high - low
    share = torch.where(width > 0, (x - low) / width.clamp_min(torch.finfo(x.dtype).tiny), 0.5)
    return share * (wanted_high - wanted_low) + wanted_low


def _spectrum(keys: Tensor, count: int, scale: float) -> Tensor:
    """Largest eigenvalues of each head's comparison of keys, summing to one, (heads, count)."""
    small = (keys.transpose(1, 2).double() @ keys.double()) * scale  # as the large one, but for zeros
    found = torch.linalg.eigvalsh(small).flip(-1).clamp_min(0)
    wanted = min(count, keys.shape[1])
    found = F.pad(found, (0, max(wanted - found.shape[1], 0)))[:, :wanted]
    return F.normalize(found, p=1, dim=-1).float()


def _farthest_pairs(distance: Tensor) -> Tensor:
    """One column for each row so that the sum of the entries is the largest, (heads,)."""
    if not has_values(distance):
        return torch.arange(len(distance), device=distance.device)  # their numbers are not known
    from scipy.optimize import linear_sum_assignment  # takes long to import, and only CASS needs it

    columns = linear_sum_assignment(distance.detach().double().cpu().numpy(), maximize=True)[1]
    return torch.as_tensor(columns, device=distance.device)


def _near(grid: tuple[int, int], std: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gaussian of the distance of each patch to all rows (hw, h) and to all columns (hw, w)."""
    rows, columns = (torch.arange(n, dtype=torch.float32, device=device) for n in grid)
    place = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1).flatten(0, 1)
    return near_by_axis(place[:, 0], rows, std), near_by_axis(place[:, 1], columns, std)
