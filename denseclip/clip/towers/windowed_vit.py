"""A vision transformer whose blocks attend within windows, for the large pictures of detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from denseclip.core.regions import whole

from ..blocks import drop_path, ffn_branch, has_explicit_walk, projections
from ..deep_prompts import CoupledPrompts
from .base import TowerOutput
from .vit import ViTTower


def to_windows(x: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """Cut patches into square windows; windows at the right and bottom are filled up with zeros.

    Args:
        x: patches of all heads.
        grid: height h and width w in patches.
        window: side of a window in patches.

    Shape:
        - x: :math:`(N, H, hw, D)`; result: :math:`(N n, H, s^2, D)` for n windows of side s, row by row
    """
    height, width = grid
    x = x.unflatten(2, grid)
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    rows, columns = x.shape[2] // window, x.shape[3] // window
    x = x.unflatten(3, (columns, window)).unflatten(2, (rows, window))  # N, H, rows, s, columns, s, D
    return x.permute(0, 2, 4, 1, 3, 5, 6).flatten(4, 5).flatten(0, 2)


def from_windows(x: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """The way back from :func:`to_windows`."""
    height, width = grid
    rows, columns = -(-height // window), -(-width // window)
    x = x.unflatten(2, (window, window)).unflatten(0, (-1, rows, columns))  # N, rows, columns, H, s, s, D
    x = x.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)
    return x[:, :, :height, :width].flatten(2, 3)


def window_attention(attn: nn.MultiheadAttention, x: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """Self-attention of patches within windows; the class token sees everything and is seen from every window.

    Filled-up positions are masked, so they change nothing. The cost grows with hw, not with its square.

    Args:
        attn: gives the projections.
        x: tokens, class token first.
        grid: height and width in patches.
        window: side of a window in patches.

    Shape:
        - x and result: :math:`(N, 1 + hw, C)`
    """
    q, k, v = projections(attn, x)
    token = F.scaled_dot_product_attention(q[:, :, :1], k, v)
    wq, wk, wv = (to_windows(t[:, :, 1:], grid, window) for t in (q, k, v))
    count = wq.shape[0] // x.shape[0]
    wk, wv = (torch.cat([t[:, :, :1].repeat_interleave(count, dim=0), w], dim=2) for t, w in ((k, wk), (v, wv)))
    mask = None
    if any(side % window for side in grid):
        real = to_windows(torch.ones((1, 1, grid[0] * grid[1], 1), dtype=x.dtype, device=x.device), grid, window)
        real = F.pad(real.squeeze(-1) > 0, (1, 0), value=True)  # n, 1, 1 + s^2
        mask = real.unsqueeze(2).repeat(x.shape[0], 1, 1, 1)
    patches = from_windows(F.scaled_dot_product_attention(wq, wk, wv, attn_mask=mask), grid, window)
    return attn.out_proj(torch.cat([token, patches], dim=2).transpose(1, 2).flatten(2))


class WindowedViTTower(ViTTower):
    """A :class:`ViTTower` with windowed attention in all but a few blocks (the scheme of ViTDet, Li et al. 2022).

    The weights are those of the ordinary tower. Read as trained only.

    Args:
        window_size: side of a window in patches.
        global_blocks: 0-based blocks that keep the ordinary attention and carry news between windows; None means four,
            evenly spread, the last one among them.
        args: as of :class:`ViTTower`.
        kwargs: as of :class:`ViTTower`.
    """

    def __init__(
        self, *args: Any, window_size: int = 14, global_blocks: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        blocks = self.visual.transformer.resblocks
        count = len(blocks)
        if global_blocks is None:
            global_blocks = [max(count * i // 4, 1) - 1 for i in (1, 2, 3, 4)]
        self.window_size, self.global_blocks = window_size, frozenset(global_blocks)
        if window_size < 1 or not all(0 <= i < count for i in self.global_blocks):
            raise ValueError(
                f'window_size={window_size}, global_blocks={sorted(self.global_blocks)}: windows need a side of at '
                f'least 1, and this tower has blocks 0..{count - 1}.'
            )
        if not self.read_out.as_trained or self.read_out.ffn_inputs or not all(map(has_explicit_walk, blocks)):
            raise ValueError('windowed attention reads open_clip blocks as trained: it has no other read-outs.')

    def take_prompts(self, prompts: CoupledPrompts) -> None:
        """Refused: windows hold patches only.

        Raises:
            ValueError: Always.
        """
        raise ValueError('windowed attention takes no deep prompts: leave window_size out.')

    def _run(self, index: int, x: Tensor, out: TowerOutput, last: bool = False) -> Tensor:
        if index in self.global_blocks:
            return super()._run(index, x, out, last)
        assert out.grid is not None
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._run_windowed, index, x, out.grid, use_reentrant=False)
        return self._run_windowed(index, x, out.grid)

    def _run_windowed(self, index: int, x: Tensor, grid: tuple[int, int]) -> Tensor:
        block = self.visual.transformer.resblocks[index]
        return _windowed_block(block, x, grid, self.window_size, self.drop_rates[index])


@whole
def _windowed_block(block: Any, x: Tensor, grid: tuple[int, int], window_size: int, drop: float) -> Tensor:
    branch = block.ls_1(window_attention(block.attn, block.ln_1(x), grid, window_size))
    x = x + drop_path(branch, drop, block.training)
    return ffn_branch(block, x, block.ln_2(x), drop)
