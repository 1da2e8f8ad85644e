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

from denseclip.core.regions import Recompute, region, runner_of, whole

from .alignment import Alignment
from .attention import Affinity, Guide, adaptive_temperature, attend, resize_values, self_self_attend
from .feed_forward import feed_forward
from .head_affinity import HeadAffinity
from .timm_blocks import (
    is_known_timm_block,
    timm_attention_input,
    timm_ffn,
    timm_joined,
    timm_projections,
    timm_scaled,
)
from .token_repair import looks_at_patches


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the whole branch of a sample with probability ``rate``, scale the rest up."""
    if rate == 0.0 or not training:
        return x
    keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1.0 - rate)
    return x * keep / (1.0 - rate)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) to (N, heads, L, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def projections(attn: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of all heads.

    Shape:
        - x: :math:`(N, L, C)`; each result: :math:`(N, heads, L, C / heads)`
    """
    q, k, v = (split_heads(t, attn.num_heads) for t in F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, -1))
    return q, k, v


def project_one(attn: nn.MultiheadAttention, x: Tensor, which: str) -> Tensor:
    """Queries (``'q'``), keys (``'k'``) or values (``'v'``) alone, heads side by side.

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    start = 'qkv'.index(which) * x.shape[-1]
    rows = slice(start, start + x.shape[-1])
    bias = attn.in_proj_bias[rows] if attn.in_proj_bias is not None else None
    return F.linear(x, attn.in_proj_weight[rows], bias)


def self_attention(
    attn: nn.MultiheadAttention,
    x: Tensor,
    *,
    kind: str = 'qk',
    causal: bool = False,
    mask: Tensor | None = None,
    scale: float = 1.0,
    average: bool = False,
    iterations: int | None = None,
    guide: Guide | None = None,
    align: Alignment | None = None,
) -> Tensor:
    """Multi-head self-attention with the parameters of ``attn``.

    Args:
        attn: Holds ``in_proj_weight``, ``in_proj_bias`` and ``out_proj``.
        x: Tokens.
        kind: ``'qk'``: the ordinary attention. ``'value'``: every token attends to itself only, so the result is its
            own value after the output projection (MaskCLIP, section 3.2). Others: see
            :func:`denseclip.clip.attention.attention_terms`.
        causal: A token sees itself and what comes before it.
        mask: Additive mask broadcastable to (N, heads, L, L).
        scale: Factor of the logits, besides ``head_size ** -0.5``.
        average: Mean instead of sum of the terms of ``kind``.
        iterations: Compare unit vectors after so many smoothings (GEM); None compares the projections as they are.
        guide: What the picture adds; its ``affinity`` is for :func:`external_attention`.
        align: Settings of ``kind='aligned'``.

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    if kind == 'value':
        return attn.out_proj(project_one(attn, x, 'v'))
    heads = _heads(
        *projections(attn, x),
        temperature=None if iterations is None else adaptive_temperature(x, attn.num_heads),
        kind=kind,
        causal=causal,
        mask=mask,
        scale=scale,
        average=average,
        iterations=iterations,
        guide=guide,
        align=align,
    )
    return attn.out_proj(heads.transpose(1, 2).flatten(2))


def _heads(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    temperature: Tensor | None,
    kind: str,
    causal: bool = False,
    mask: Tensor | None = None,
    scale: float = 1.0,
    average: bool = False,
    iterations: int | None = None,
    guide: Guide | None = None,
    align: Alignment | None = None,
) -> Tensor:
    """What the heads of any block answer, (N, heads, L, d); see :func:`self_attention`."""
    if kind == 'value':
        return v
    guide = guide if guide is not None else Guide()
    bias = mask if guide.bias is None else guide.bias if mask is None else mask + guide.bias
    if iterations is not None:
        if bias is not None or scale * guide.scale != 1.0:
            raise ValueError('iterations has a temperature of its own: no mask, scale or bias of a guide goes with it.')
        assert temperature is not None
        out = self_self_attend(q, k, v, kind, temperature, iterations, average)
    else:
        out = attend(
            q,
            k,
            v,
            kind,
            bias=bias,
            scale=scale * guide.scale,
            causal=causal,
            average=average,
            align=align,
            likeness=guide.likeness,
        )
    if guide.gain != 1.0:
        out = out * guide.gain
    return out if guide.mix is None else out + guide.mix.to(v.dtype) @ v


def timm_self_attention(
    block: nn.Module, x: Tensor, *, kind: str = 'qk', rope: Tensor | None = None, **options: Any
) -> Tensor:
    """Attention branch of one of timm's blocks, scaled as the block does; see :func:`self_attention`.

    Args:
        block: A block that :func:`denseclip.clip.timm_blocks.is_known_timm_block` knows.
        x: Tokens, not normalised.
        kind: See :func:`denseclip.clip.attention.attention_terms`. Queries and keys are compared as the trained
            attention would: normalised, and turned by their places where the trunk does that.
        rope: Sines and cosines of the patches.
        options: Further options of :func:`self_attention`.

    Shape:
        - x and result: :math:`(N, L, C)`
    """
    walked: Any = block
    normed = timm_attention_input(walked, x)
    by_length = options.get('iterations') is not None
    heads = _heads(
        *timm_projections(walked.attn, normed, rope),
        temperature=adaptive_temperature(normed, walked.attn.num_heads) if by_length else None,
        kind=kind,
        **options,
    )
    return timm_scaled(walked, timm_joined(walked.attn, heads, normed), 1)


def attention_weights(attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Weights of the ordinary attention, for methods that use them elsewhere.

    Shape:
        - x: :math:`(N, L, C)`; result: :math:`(N, heads, L, L)`
    """
    q, k, _ = projections(attn, x)
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1)


def attention_looks(attn: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """How the ordinary attention looks at patches; see :func:`denseclip.clip.token_repair.looks_at_patches`.

    Shape:
        - x: :math:`(N, 1 + L, C)`; results: :math:`(N, L)`
    """
    q, k, _ = projections(attn, x)
    return looks_at_patches(q, k)


def external_attention(attn: nn.MultiheadAttention, x: Tensor, grid: tuple[int, int], guide: Guide | None) -> Tensor:
    """Values of the patches averaged as another network's affinity says; the class token takes no part.

    Source: ProxyCLIP, section 3.3.

    Args:
        attn: Gives the values and the output projection.
        x: Tokens, class token first.
        grid: Height and width of the patches in ``x``.
        guide: Its ``affinity`` decides the weights and the grid of the result.

    Raises:
        ValueError: Without an affinity.

    Shape:
        - x: :math:`(N, 1 + hw, C)`; result: :math:`(N, h'w', C)`
    """
    values = split_heads(project_one(attn, x[:, 1:], 'v'), attn.num_heads)
    if guide is not None and isinstance(guide.affinity, HeadAffinity):
        keys = split_heads(project_one(attn, x[:, 1:], 'k'), attn.num_heads)
        heads = guide.affinity.average(keys, values, grid)
    else:
        heads = averaged_values(values, grid, guide)
    return attn.out_proj(heads.transpose(1, 2).flatten(2))


def grid_of_result(guide: Guide | None, grid: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what :func:`external_attention` returns for patches on a grid."""
    return guide.affinity.grid if guide is not None and isinstance(guide.affinity, Affinity) else grid


def averaged_values(values: Tensor, grid: tuple[int, int], guide: Guide | None) -> Tensor:
    """Values of the patches averaged as an affinity says.

    Raises:
        ValueError: Without an affinity.

    Shape:
        - values: :math:`(N, heads, hw, d)`; result: :math:`(N, heads, h'w', d)`
    """
    if guide is None or guide.affinity is None:
        raise ValueError("attention='external' needs an affinity: give the model an affinity provider.")
    if isinstance(guide.affinity, HeadAffinity):
        raise ValueError('an affinity head by head is for the blocks of CLIP: take a vision transformer of open_clip.')
    values = resize_values(values, grid, guide.affinity.grid)
    return guide.affinity.logits.softmax(dim=-1).to(values.dtype)[:, None] @ values


def timm_external_attention(
    block: nn.Module, x: Tensor, grid: tuple[int, int], guide: Guide | None, special: int
) -> Tensor:
    """:func:`external_attention` with one of timm's blocks, scaled as the block does.

    Args:
        block: See :func:`timm_self_attention`; without a gate, which belongs to the tokens' own grid.
        x: Tokens, not normalised.
        grid: Height and width of the patches in ``x``.
        guide: Its ``affinity`` decides the weights and the grid of the result.
        special: Tokens before the patches, which take no part.

    Shape:
        - x: :math:`(N, L, C)`; result: :math:`(N, h'w', C)`
    """
    walked: Any = block
    normed = timm_attention_input(walked, x)
    values = timm_projections(walked.attn, normed)[2][:, :, special:]
    heads = averaged_values(values, grid, guide)
    return timm_scaled(walked, timm_joined(walked.attn, heads, normed[:, special:]), 1)


def has_explicit_walk(block: nn.Module) -> bool:
    """Whether a block is one that :func:`run_block` can run with other settings than the trained ones."""
    return isinstance(block, ResidualAttentionBlock) or is_known_timm_block(block)


@region
def attention_branch(block: nn.Module, x: Tensor, drop: float = 0.0, residual: bool = True, **options: Any) -> Tensor:
    """First half of a block: x + attention(ln_1 x), or the branch alone. Options of :func:`self_attention`."""
    walked: Any = block
    if is_known_timm_block(block):
        branch = timm_self_attention(block, x, **options)
    else:
        branch = walked.ls_1(self_attention(walked.attn, walked.ln_1(x), **options))
    return x + drop_path(branch, drop, block.training) if residual else branch


@region
def ffn_branch(block: nn.Module, x: Tensor, normed: Tensor, drop: float = 0.0) -> Tensor:
    """Second half of a block: x + mlp(ln_2 x), ``normed`` being ``ln_2 x``."""
    walked: Any = block
    return x + drop_path(walked.ls_2(feed_forward(walked.mlp, normed)), drop, block.training)


@whole
def ffn_input(block: nn.Module, x: Tensor) -> Tensor:
    """The normalised input of the feed-forward branch, ``ln_2 x``."""
    walked: Any = block
    return walked.ln_2(x)


@whole
def block_weights(block: nn.Module, x: Tensor) -> Tensor:
    """:func:`attention_weights` of a block for its input."""
    walked: Any = block
    return attention_weights(walked.attn, walked.ln_1(x))


@whole
def block_looks(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`attention_looks` of a block for its input."""
    walked: Any = block
    return attention_looks(walked.attn, walked.ln_1(x))


@whole
def block_keys(block: nn.Module, x: Tensor, projected: bool = False) -> Tensor:
    """Keys of a block for its input, heads side by side; ``projected``: through the output projection of the values."""
    walked: Any = block
    keys = project_one(walked.attn, walked.ln_1(x), 'k')
    return walked.attn.out_proj(keys) if projected else keys


@region
def run_block(
    block: nn.Module,
    x: Tensor,
    *,
    kind: str = 'qk',
    residual: bool = True,
    ffn: bool = True,
    causal: bool = False,
    drop: float = 0.0,
    **options: Any,
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
        options: Further options of :func:`self_attention`.
    """
    if not has_explicit_walk(block):
        if kind != 'qk' or not residual or not ffn or drop or options:
            raise ValueError(f'block {type(block).__name__} has no explicit walk: only the ordinary attention works.')
        length = x.shape[1]
        mask = torch.full((length, length), float('-inf'), dtype=x.dtype, device=x.device).triu_(1) if causal else None
        return block(x, attn_mask=mask)
    x = attention_branch(block, x, drop, residual, kind=kind, causal=causal, **options)
    if is_known_timm_block(block):
        return x + timm_ffn(block, x) if ffn else x
    walked: Any = block
    return ffn_branch(block, x, walked.ln_2(x), drop) if ffn else x


@region
def first_token_block(block: nn.Module, x: Tensor) -> Tensor:
    """:func:`run_block` for the first token alone: what a last block is read for when only the class token counts.

    One query looks at all tokens, so neither keys nor values have to be made: the query goes through the keys' weights
    and meets the tokens as they are, and the mean of the tokens goes through the values' weights. The keys' bias moves
    all logits alike and falls out.

    Shape:
        - x: :math:`(N, L, C)`; result: :math:`(N, 1, C)`
    """
    walked: Any = block
    attn, normed = walked.attn, walked.ln_1(x)
    heads, size = attn.num_heads, x.shape[-1] // attn.num_heads
    _, keys, values = attn.in_proj_weight.unflatten(0, (3, heads, size))
    query = project_one(attn, normed[:, :1], 'q').unflatten(-1, (heads, size)) * size**-0.5
    logits = torch.einsum('nohd,hdc->nhc', query, keys) @ normed.transpose(1, 2)
    mean = torch.einsum('nhc,hdc->nhd', logits.softmax(dim=-1).to(normed.dtype) @ normed, values).flatten(1)
    if attn.in_proj_bias is not None:
        mean = mean + attn.in_proj_bias[-x.shape[-1] :]
    first = x[:, :1] + walked.ls_1(attn.out_proj(mean[:, None]))
    return ffn_branch(block, first, walked.ln_2(first))


def maybe_checkpoint(active: bool, block: nn.Module, x: Tensor, **options: Any) -> Tensor:
    """:func:`run_block`, recomputed in the backward pass when ``active`` (less memory, one more forward)."""
    if active and torch.is_grad_enabled() and not isinstance(runner_of(block), Recompute):
        return checkpoint(partial(run_block, block, **options), x, use_reentrant=False)
    return run_block(block, x, **options)
