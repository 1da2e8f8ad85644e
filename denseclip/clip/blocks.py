"""An explicit walk through open_clip's transformer blocks, tokens as (N, L, C).

open_clip's modules stay as they are: their parameters are read here, nothing is patched, renamed or hooked. That makes
the attention of a block a choice of the caller (dense read-outs) and keeps causal text towers exact at any length.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ATTENTIONS = ('qk', 'value')


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the whole branch of a sample with probability ``rate``, scale the rest up."""
    if rate == 0.0 or not training:
        return x
    keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1.0 - rate)
    return x * keep / (1.0 - rate)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) to (N, heads, L, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def self_attention(
    attn: nn.MultiheadAttention,
    x: Tensor,
    *,
    kind: str = 'qk',
    causal: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Multi-head self-attention with the parameters of ``attn``.

    Args:
        attn: Holds ``in_proj_weight``, ``in_proj_bias`` and ``out_proj``.
        x: Tokens.
        kind: ``'qk'``: the ordinary attention. ``'value'``: every token attends to itself only, so the result is its
            own value after the output projection (MaskCLIP, section 3.2).
        causal: A token sees itself and what comes before it.
        mask: Additive mask broadcastable to (N, heads, L, L).

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    if kind == 'value':
        width = x.shape[-1]
        bias = attn.in_proj_bias[2 * width :] if attn.in_proj_bias is not None else None
        return attn.out_proj(F.linear(x, attn.in_proj_weight[2 * width :], bias))
    q, k, v = (split_heads(t, attn.num_heads) for t in F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, -1))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and mask is None)
    return attn.out_proj(out.transpose(1, 2).flatten(2))


def run_block(
    block: nn.Module,
    x: Tensor,
    *,
    kind: str = 'qk',
    residual: bool = True,
    ffn: bool = True,
    causal: bool = False,
    drop: float = 0.0,
) -> Tensor:
    """One pre-norm transformer block: x + attention(ln_1 x), then x + mlp(ln_2 x).

    Args:
        block: open_clip's ``ResidualAttentionBlock``; its custom blocks run as they are (``kind='qk'`` only).
        x: Tokens (N, L, C).
        kind: See :func:`self_attention`.
        residual: Add the block's input to the attention branch.
        ffn: Run the feed-forward branch.
        causal: See :func:`self_attention`.
        drop: Stochastic-depth rate of both branches while the block trains.
    """
    if not isinstance(block, ResidualAttentionBlock):
        if kind != 'qk' or not residual or not ffn or drop:
            raise ValueError(f'block {type(block).__name__} has no explicit walk: only the ordinary attention works.')
        length = x.shape[1]
        mask = torch.full((length, length), float('-inf'), dtype=x.dtype, device=x.device).triu_(1) if causal else None
        return block(x, attn_mask=mask)
    branch = block.ls_1(self_attention(block.attn, block.ln_1(x), kind=kind, causal=causal))
    x = x + drop_path(branch, drop, block.training) if residual else branch
    return x + drop_path(block.ls_2(block.mlp(block.ln_2(x))), drop, block.training) if ffn else x


def maybe_checkpoint(active: bool, block: nn.Module, x: Tensor, **options: Any) -> Tensor:
    """:func:`run_block`, recomputed in the backward pass when ``active`` (less memory, one more forward)."""
    if active and torch.is_grad_enabled():
        return checkpoint(partial(run_block, block, **options), x, use_reentrant=False)
    return run_block(block, x, **options)
