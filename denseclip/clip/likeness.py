"""How alike the patches of a picture are in a middle block, and what is averaged by that (SC-CLIP, SFP)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision

from .token_repair import parts_of_rows

_TINY = 1e-6


@dataclass(frozen=True)
class Likeness:
    """Cosines of tokens; they are made a few rows at a time, so that no patches x patches matrix is ever held.

    Attributes:
        tokens: What is compared.
        least: Cosines below count as none in :meth:`gather`.
        sharpness: Of :meth:`attend`.
        cut_first: The mean that :meth:`attend` compares with is taken after cosines below ``least`` became 0 (SFP).

    Shape:
        - tokens: :math:`(N, L, C)`
    """

    tokens: Tensor
    least: float = 0.4
    sharpness: float = 3.0
    cut_first: bool = False

    def gather(self, x: Tensor) -> Tensor:
        """Means of tokens, weighted by cosines of at least ``least``.

        Shape:
            - x and result: :math:`(N, L, C')`
        """
        with full_precision(x.device.type):
            values = x.float()
            weights = (self._cut(cosines) for _, cosines in self._rows())
            means = [(part / (part.sum(dim=-1, keepdim=True) + _TINY)) @ values for part in weights]
        return torch.cat(means, dim=1).to(x.dtype)

    def attend(self, v: Tensor) -> Tensor:
        """Attention with the same weights in all heads: of cosines above their mean over the picture.

        Shape:
            - v and result: :math:`(N, heads, L, d)`
        """
        with full_precision(v.device.type):
            values = v.float().transpose(1, 2).flatten(2)
            mean = self._mean
            number = torch.arange(values.shape[1], device=v.device)
            parts = []
            for rows, cosines in self._rows():
                logits = ((self._cut(cosines) if self.cut_first else cosines) - mean) * self.sharpness
                # A patch sees itself, also where all are so alike that rounding puts none above the mean.
                out = (logits < 0) & (number[rows, None] != number)
                parts.append(logits.masked_fill(out, float('-inf')).softmax(dim=-1) @ values)
        return torch.cat(parts, dim=1).to(v.dtype).unflatten(2, (v.shape[1], v.shape[3])).transpose(1, 2)

    def _cut(self, cosines: Tensor) -> Tensor:
        return torch.where(cosines < self.least, 0.0, cosines)

    @cached_property
    def _mean(self) -> Tensor:
        """Mean of all cosines of a picture, (N, 1, 1)."""
        if not self.cut_first:
            return self._unit.mean(dim=1).square().sum(dim=-1)[:, None, None]
        total = torch.stack([self._cut(cosines).sum(dim=(1, 2)) for _, cosines in self._rows()]).sum(dim=0)
        return (total / self.tokens.shape[1] ** 2)[:, None, None]

    @cached_property
    def _unit(self) -> Tensor:
        return F.normalize(self.tokens.float(), dim=-1)

    def _rows(self) -> Iterator[tuple[slice, Tensor]]:
        unit = self._unit
        batch, length, _ = unit.shape
        for rows in parts_of_rows(length, batch * length):
            yield rows, unit[:, rows] @ unit.transpose(1, 2)
