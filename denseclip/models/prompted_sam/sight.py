"""What the encoder of Segment Anything takes for one thing: the attention of its last block, cut by its values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.token_repair import parts_of_rows
from denseclip.core.placement import Size, resize
from denseclip.core.precision import full_precision


@dataclass(frozen=True)
class Likeness:
    """Which patches a patch of SAM may look at: those whose values are like its own, in each head.

    Source: Trident (Shi et al., ICCV 2025), refined affinity.

    Attributes:
        factor: Cosines up to ``factor`` times the mean cosine of the patch, over heads, are not looked at.
        most: The threshold is no higher.
        instead: Threshold of patches whose mean is negative; None: it stays negative.
    """

    factor: float = 1.2
    most: float = 0.9
    instead: float | None = None

    def __post_init__(self) -> None:
        if not self.most < 1:
            raise ValueError(f'most={self.most}: it must be below 1, or no patch looks at itself.')

    def threshold(self, cosines: Tensor) -> Tensor:
        """Least cosine of each row, (heads, r, P) to (1, r, 1)."""
        least = cosines.mean(dim=(0, 2), keepdim=True) * self.factor
        if self.instead is not None:
            least = torch.where(least < 0, self.instead, least)
        return least.clamp_max(self.most)


@dataclass(frozen=True)
class LastAttention:
    """Queries, keys and values of the last block of SAM's encoder, which sees the whole square.

    Attributes:
        sides: Of all patches.
        grid: Patches that show the picture, at the upper left; the others show padding.
        rows: Learned preference for distances of rows, or None.
        columns: Likewise of columns.

    Shape:
        - sides: :math:`(3, heads, g, g, d)`; rows, columns: :math:`(2 g - 1, d)`
    """

    sides: Tensor
    grid: Size
    rows: Tensor | None = None
    columns: Tensor | None = None

    def average(self, planes: Tensor, like: Likeness) -> Tensor:
        """Planes of the picture averaged as SAM looks, the same for all of them.

        No matrix over all patches is kept: a few rows are made at a time.

        Args:
            planes: Of any size; they are resized to the patches first.
            like: Which patches are left out.

        Shape:
            - planes: :math:`(C, H, W)`; result: :math:`(C, h, w)` of ``grid``
        """
        height, width = self.grid
        with full_precision(planes.device.type):
            values = resize(planes.float(), self.grid).flatten(1).T
            _, keys, own = (side.float() for side in self.sides)
            queries = self._inside(self.sides[0].float())
            inside = F.normalize(self._inside(own), dim=-1)
            keys = keys.flatten(1, 2)
            place = torch.arange(height * width, device=planes.device)
            columns = keys.shape[0] * keys.shape[1]
            parts = []
            for some in parts_of_rows(height * width, columns):
                weights = self._weights(queries[:, some], keys, place[some])
                cosines = inside[:, some] @ inside.transpose(1, 2)
                weights = torch.where(cosines > like.threshold(cosines), weights, 0.0).mean(dim=0)
                parts.append(weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-30) @ values)
        return torch.cat(parts).T.unflatten(1, self.grid).to(planes.dtype)

    def _inside(self, side: Tensor) -> Tensor:
        """Patches that show the picture, (heads, hw, d)."""
        return side[:, : self.grid[0], : self.grid[1]].flatten(1, 2)

    def _weights(self, queries: Tensor, keys: Tensor, place: Tensor) -> Tensor:
        """Attention of some patches to those of the picture, (heads, r, hw); what padding gets is lost."""
        side = self.sides.shape[2]
        logits = queries * queries.shape[-1] ** -0.5 @ keys.transpose(1, 2)
        logits = logits.unflatten(2, (side, side))
        if self.rows is not None and self.columns is not None:
            width = self.grid[1]
            logits = logits + self._distances(queries, self.rows, place // width)[..., :, None]
            logits = logits + self._distances(queries, self.columns, place % width)[..., None, :]
        weights = logits.flatten(2).softmax(dim=-1).unflatten(2, (side, side))
        return weights[..., : self.grid[0], : self.grid[1]].flatten(2)

    def _distances(self, queries: Tensor, table: Tensor, place: Tensor) -> Tensor:
        """Preference of queries (heads, r, d) at places (r,) of a line for all g places of it, (heads, r, g)."""
        side = self.sides.shape[2]
        index = place[:, None] - torch.arange(side, device=place.device) + side - 1
        return torch.einsum('nrd,rgd->nrg', queries, table.float()[index])
