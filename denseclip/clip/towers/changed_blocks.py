"""The last blocks of a transformer, run as a read-out says: of open_clip's towers and of timm's trunks alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import Guide, gaussian_bias
from ..blocks import attention_branch, run_block
from .base import DenseReadOut


def changed_blocks(
    blocks: Sequence[nn.Module],
    read_out: DenseReadOut,
    x: Tensor,
    grid: tuple[int, int],
    guide: Guide | None = None,
    special: int = 1,
    **extra: Any,
) -> Tensor:
    """Tokens after the last blocks.

    Args:
        blocks: The blocks that the read-out changes.
        read_out: How they run.
        x: Tokens before them: special ones, patches, and what may stand behind the patches.
        grid: Height and width of the patches.
        guide: What the picture adds.
        special: Tokens before the patches.
        extra: What the blocks themselves take (rotary positions).

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    options = {**read_out.block_options(), **extra, 'guide': guide}
    options['align'] = replace(options['align'], special=special)
    if read_out.gaussian is not None:
        bias = gaussian_bias(grid, read_out.gaussian, dtype=x.dtype, device=x.device, special=special)
        more = x.shape[1] - bias.shape[-1]  # deep prompts, which are nowhere in the picture
        options['mask'] = F.pad(bias, (0, more, 0, more))
    if not read_out.parallel:
        for block in blocks:
            x = run_block(block, x, residual=read_out.residual, ffn=read_out.ffn, **options)
        return x
    ordinary = x
    for position, block in enumerate(blocks):
        branch = attention_branch(block, ordinary, residual=False, **options)
        x = x + branch if read_out.residual else branch
        if position < len(blocks) - 1:
            ordinary = run_block(block, ordinary, **extra)
    return x
