"""What is read of a transformer beside the changed attention of its last block (CorrCLIP).

Two branches share the last block's output projection and norm: values of the mean of middle blocks, averaged by the
same affinity, and class tokens that look at the patches of one region each, on their own way through all blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.core.placement import nearest
from denseclip.core.regions import whole

from .attention import Affinity, Guide
from .blocks import ffn_branch, project_one, split_heads
from .middle_layers import block_numbers

_MIDDLE = {12: 5, 24: 12}
"""Middle blocks that CorrCLIP reads, by depth."""


def middle_blocks(depth: int) -> tuple[int, ...]:
    """Blocks before the last two whose mean CorrCLIP reads: 5 of 12, 12 of 24, all but four otherwise (28 of 32)."""
    count = _MIDDLE.get(depth, depth - 4)
    return tuple(range(depth - 2 - count, depth - 2))


@dataclass
class Branches:
    """Tokens of the branches before the last block.

    Attributes:
        middle: Mean of the middle blocks' outputs, (N, 1 + hw, C); None: they are not read.
        regions: Class tokens of the regions, (N, R, C); None: there are none.
        mask: What each of them looks at, the class token and the region's patches, (N, 1, R, 1 + hw) bool.
    """

    middle: Tensor | None = None
    regions: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, grid: tuple[int, int], guide: Guide | None, regions: bool) -> Branches:
        """Before the first block: each region of the affinity gets the class token, if ``regions`` are read.

        Args:
            x: Tokens (N, 1 + hw, C).
            grid: Height and width of the patches in them.
            guide: Its affinity knows the regions.
            regions: Whether they are read.
        """
        affinity = None if guide is None else guide.affinity
        if not regions or not isinstance(affinity, Affinity) or affinity.regions is None:
            return cls()
        planes = planes_at(affinity.regions, affinity.grid, grid)
        return cls(None, x[:, :1].expand(-1, planes.shape[1], -1), F.pad(planes, (1, 0), value=True)[:, None])

    def pass_block(self, block: nn.Module, x: Tensor, last: bool) -> None:
        """Run the class tokens of the regions through a block whose input are the tokens x, (N, 1 + hw, C).

        ``last``: the block is the last one, which is left to whoever reads them.
        """
        if self.regions is not None and not last:
            assert self.mask is not None
            self.regions = look_at(block, self.regions, x, self.mask)

    def note(self, x: Tensor, share: float) -> None:
        """Add a middle block's output to the mean."""
        self.middle = x * share if self.middle is None else self.middle + x * share


@whole
def look_at(block: nn.Module, queries: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """One block of tokens that look at other tokens, and not at each other.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        queries: The tokens.
        x: What they look at, the block's ordinary input.
        mask: Where each may look.

    Shape:
        - queries and result: :math:`(N, R, C)`; x: :math:`(N, L, C)`; mask: :math:`(N, 1, R, L)`, bool
    """
    walked: Any = block
    attn, normed = walked.attn, walked.ln_1(x)
    q, k, v = (
        split_heads(project_one(attn, tokens, which), attn.num_heads)
        for tokens, which in ((walked.ln_1(queries), 'q'), (normed, 'k'), (normed, 'v'))
    )
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    queries = queries + walked.ls_1(attn.out_proj(seen))
    return ffn_branch(block, queries, walked.ln_2(queries))


def planes_at(planes: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Regions of patches on another grid, each patch with the region at its upper left corner.

    Shape:
        - planes: :math:`(N, R, hw)`; result: :math:`(N, R, h'w')`
    """
    return nearest(planes.unflatten(2, source), target).flatten(2)


def middle_indices(wanted: Sequence[int] | str, depth: int) -> tuple[int, ...]:
    """Blocks counted from the start.

    Raises:
        ValueError: If there are no such blocks.
    """
    if isinstance(wanted, str):
        return middle_blocks(depth)
    return block_numbers(wanted, depth, 'branch', end=depth - 1)
