"""The pieces of timm's transformer blocks, as :mod:`denseclip.clip.blocks` puts them together."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

_BLOCKS = (Block, EvaBlock, EvaBlockPostNorm)
_ATTENTIONS = (Attention, AttentionRope, EvaAttention)


def is_known_timm_block(block: Any) -> bool:
    """Whether these functions know all that a block does; subclasses may do more."""
    return type(block) in _BLOCKS and type(block.attn) in _ATTENTIONS and getattr(block.attn, 'num_kv_groups', 1) == 1


def timm_projections(attn: Any, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of all heads, normalised and turned by their places as the trained attention does.

    Args:
        attn: One of timm's attentions.
        x: Normalised tokens, special ones first.
        rope: Sines and cosines of the patches.

    Shape:
        - x: :math:`(N, L, C)`; each result: :math:`(N, heads, L, d)`
    """
    if attn.qkv is None:
        parts = tuple(layer(x) for layer in (attn.q_proj, attn.k_proj, attn.v_proj))
    else:
        bias = attn.qkv.bias
        if getattr(attn, 'q_bias', None) is not None:
            bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        parts = F.linear(x, attn.qkv.weight, bias).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in parts)
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is None:
        return q, k, v
    first = attn.num_prefix_tokens

    def turned(t: Tensor) -> Tensor:
        patches = apply_rot_embed_cat(t[:, :, first:], rope, half=getattr(attn, 'rotate_half', False))
        return torch.cat([t[:, :, :first], patches], dim=2).type_as(v)

    return turned(q), turned(k), v


def timm_joined(attn: Any, heads: Tensor, x: Tensor) -> Tensor:
    """What follows the heads: norm, gate and projection.

    Shape:
        - heads: :math:`(N, heads, L, d)`; x, the normalised tokens of the same places, and result: :math:`(N, L, C)`
    """
    out = heads.transpose(1, 2).flatten(2)
    out = attn.norm(out) if hasattr(attn, 'norm') else out
    if getattr(attn, 'gate', None) is not None:
        out = out * attn.gate(x).sigmoid()
    return attn.proj(out)


def timm_attention_input(block: Any, x: Tensor) -> Tensor:
    """What the attention sees of the tokens."""
    return x if isinstance(block, EvaBlockPostNorm) else block.norm1(x)


def timm_scaled(block: Any, branch: Tensor, half: int) -> Tensor:
    """A branch, attention (1) or feed-forward (2), as the block adds it to the tokens."""
    if isinstance(block, EvaBlockPostNorm):
        return getattr(block, f'norm{half}')(branch)
    gamma = getattr(block, f'gamma_{half}', None)
    scale: nn.Module = getattr(block, f'ls{half}', nn.Identity())
    return branch * gamma if gamma is not None else scale(branch)


def timm_ffn(block: Any, x: Tensor) -> Tensor:
    """The feed-forward branch."""
    return timm_scaled(block, block.mlp(x if isinstance(block, EvaBlockPostNorm) else block.norm2(x)), 2)
