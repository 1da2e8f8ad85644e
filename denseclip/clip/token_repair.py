"""Patch tokens that stick out before the last block, found and replaced by the mean of their neighbours (SC-CLIP, SFP).

A few patches of a CLIP transformer carry what the whole picture is about instead of what they show, and the last
block spreads that. Which patches those are depends on the picture alone, never on words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision

NUMBERS_AT_ONCE = 2**24
"""Entries of a patches x patches matrix that are held together: its rows are made in parts."""
SIGNS = ('density', 'attention', 'norm')


@dataclass(frozen=True)
class TokenRepair:
    """How tokens that stick out are found.

    Attributes:
        sign: ``'density'``: a local outlier factor among the highest (SC-CLIP). ``'attention'``: the class token looks
            at the patch more than it does itself, in the block before (SFP). ``'norm'``: the longest.
        neighbours: Tokens that the density is taken from.
        share: Share of the tokens above the quantile of the outlier factor.
        count: How many tokens at most, for the other two signs.
        factor: Of the class token's attention before it is compared; 1.5 in SFP's code.
    """

    sign: str = 'density'
    neighbours: int = 30
    share: float = 0.05
    count: int = 10
    factor: float = 1.5

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise ValueError(f"repair: sign='{self.sign}' is unknown; choose from {', '.join(SIGNS)}.")
        if self.neighbours < 1 or self.count < 1 or not 0 < self.share < 1 or self.factor <= 0:
            raise ValueError('repair: neighbours and count must be 1 or more, share between 0 and 1, factor above 0.')

    @torch.no_grad()
    def find(self, patches: Tensor, looks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Which tokens stick out, (N, L) bool. Computed in float32 under autocast.

        Args:
            patches: Tokens without the class token, (N, L, C).
            looks: See :func:`looks_at_patches`, of the block before; for ``sign='attention'``.
        """
        with full_precision(patches.device.type):
            if self.sign == 'density':
                factor = local_outlier_factor(patches.float(), self.neighbours)
                return factor > torch.quantile(factor, 1 - self.share, dim=1, keepdim=True)
            if self.sign == 'norm':
                score = patches.float().norm(dim=-1)
                able = torch.ones_like(score, dtype=torch.bool)
            else:
                assert looks is not None
                score, own = (part.float() for part in looks)
                able = score * self.factor > own
            best = score.masked_fill(~able, float('-inf')).topk(min(self.count, score.shape[1]), dim=1).indices
            return torch.zeros_like(able).scatter(1, best, True) & able


def parts_of_rows(count: int, columns: int) -> Iterator[slice]:
    """Rows of a matrix in parts of at most :data:`NUMBERS_AT_ONCE` numbers, one row at least."""
    rows = max(1, NUMBERS_AT_ONCE // max(columns, 1))
    return (slice(start, start + rows) for start in range(0, count, rows))


def local_outlier_factor(tokens: Tensor, neighbours: int = 30) -> Tensor:
    """How much farther the neighbours of a token lie than those of its neighbours, by squared distances; about 1.

    The density of a token is one over the distance of its last neighbour: in the code of SC-CLIP every neighbour counts
    as far as the last one.

    Source: SC-CLIP (Bai et al., 2024), anomaly tokens.

    Args:
        tokens: Any vectors.
        neighbours: How many; all others where there are fewer.

    Shape:
        - tokens: :math:`(N, L, C)`; result: :math:`(N, L)`
    """
    batch, length, _ = tokens.shape
    near = min(neighbours, length - 1)
    if near < 1:
        return torch.ones((batch, length), dtype=tokens.dtype, device=tokens.device)
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=-1)
    number = torch.arange(length, device=tokens.device)
    farthest, who = [], []
    for rows in parts_of_rows(length, batch * length):
        product = centred[:, rows] @ centred.transpose(1, 2)
        distances = (squares[:, rows, None] + squares[:, None] - 2 * product).clamp_min(0)
        distances = distances.masked_fill(number[rows, None] == number, -1.0)  # comes first, and is left out
        found = distances.topk(near + 1, dim=-1, largest=False)
        farthest.append(found.values[..., -1])
        who.append(found.indices[..., 1:])
    # What rounding alone makes of equal tokens is no distance.
    least = torch.finfo(tokens.dtype).eps * (
        squares.amax(dim=1, keepdim=True) + tokens.square().mean(dim=(1, 2))[:, None]
    )
    last = torch.maximum(torch.cat(farthest, dim=1), least.clamp_min(1e-30))
    among = torch.cat(who, dim=1)
    return last * (1 / last).gather(1, among.flatten(1)).unflatten(1, among.shape[1:]).mean(dim=-1)


def looks_at_patches(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """How much the class token looks at each patch, and each patch at itself: attention weights, mean of the heads.

    Shape:
        - q, k: :math:`(N, heads, 1 + L, d)`, class token first; results: :math:`(N, L)`
    """
    scaled, keys = q * q.shape[-1] ** -0.5, k.transpose(-1, -2)
    of_class = (scaled[:, :, :1] @ keys).softmax(dim=-1)[:, :, 0, 1:]
    rows = parts_of_rows(q.shape[2], q.shape[0] * q.shape[1] * q.shape[2])
    norms = torch.cat([(scaled[:, :, part] @ keys).logsumexp(dim=-1) for part in rows], dim=2)
    of_itself = ((scaled * k).sum(dim=-1) - norms).exp()[:, :, 1:]
    return of_class.mean(dim=1), of_itself.mean(dim=1)


def mend(patches: Tensor, bad: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens with the mean of their eight neighbours instead of those that stick out.

    Neighbours that stick out themselves do not count, and a token among none but such stays as it is.

    Args:
        patches: Tokens without the class token.
        bad: Which to replace.
        grid: Height and width in patches.

    Shape:
        - patches and result: :math:`(N, hw, C)`; bad: :math:`(N, hw)`
    """
    maps = patches.transpose(1, 2).unflatten(2, grid)
    sound = (~bad).to(maps.dtype).unsqueeze(1).unflatten(2, grid)
    # Where a token is bad it counts 0 itself, so sums over nine places are sums over its neighbours.
    total, number = (F.avg_pool2d(t, 3, 1, 1, divisor_override=1) for t in (maps * sound, sound))
    mended = torch.where((sound == 0) & (number > 0), total / number.clamp_min(1), maps)
    return mended.flatten(2).transpose(1, 2)
