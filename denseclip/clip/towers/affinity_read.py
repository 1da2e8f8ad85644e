"""The last block of CLIP's transformer by another network's affinity, and what is read beside it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from denseclip.core.regions import whole

from ..attention import Guide
from ..blocks import external_attention
from ..branches import Branches, look_at, planes_at


@whole
def affinity_branch(block: Any, x: Tensor, grid: tuple[int, int], guide: Guide | None) -> Tensor:
    """What a block's attention adds where patches look by another network, before the final norm.

    Args:
        block: The last one.
        x: Before it.
        grid: Height and width of the patches in it.
        guide: Has the affinity.

    Shape:
        - x: :math:`(N, 1 + hw, C)`; result: :math:`(N, h'w', C)`
    """
    return block.ls_1(external_attention(block.attn, block.ln_1(x), grid, guide))


def read_by_affinity(
    tower: Any, tokens: Tensor, grid: tuple[int, int], result: tuple[int, int], guide: Guide | None, beside: Any
) -> Tensor:
    """Normalised patches, those of the branches added.

    Args:
        tower: A :class:`~.vit.ViTTower`.
        tokens: Before the last block.
        grid: Height and width of the patches in them.
        result: Height and width of the affinity's patches.
        guide: Has the affinity.
        beside: :class:`~denseclip.clip.branches.Branches`, or None.

    Shape:
        - tokens: :math:`(N, 1 + hw, C)`; result: :math:`(N, h'w', C)`
    """
    block, read_out = tower.visual.transformer.resblocks[-1], tower.read_out

    def read(x: Tensor) -> Tensor:
        return tower.after_blocks(affinity_branch(block, x, grid, guide))

    found, branches = read(tokens), beside if beside is not None else Branches()
    if branches.middle is not None:
        found = found + read(branches.middle) * read_out.branch_weight
    if branches.regions is None or branches.mask is None:
        return found
    regions = tower.after_blocks(look_at(block, branches.regions, tokens, branches.mask))
    planes = planes_at(branches.mask[:, 0, :, 1:], grid, result)
    return found + planes.transpose(1, 2).to(regions.dtype) @ regions * read_out.region_weight
