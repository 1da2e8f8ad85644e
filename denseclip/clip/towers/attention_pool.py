"""CLIP's attention pool as a dense read-out: every token gets an output, not the mean token alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d
from open_clip.transformer import AttentionalPooler
from torch import Tensor

from denseclip.weights.positions import resize_positions

from ..blocks import split_heads


def pool_tokens(pool: AttentionPool2d, x: Tensor, pos_resize: str = 'bilinear', antialias: bool = False) -> Tensor:
    """Mean token and pixels with positions, (N, 1 + hw, C)."""
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
    height, width = x.shape[-2:]
    positions = resize_positions(pool.positional_embedding, (height, width), mode=pos_resize, antialias=antialias)
    return tokens + positions.to(tokens.dtype)


def attend(pool: AttentionPool2d, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention of ``queries`` over ``tokens`` with the pool's four projections.

    Shape:
        - queries: :math:`(N, Q, C)`
        - tokens: :math:`(N, L, C)`
        - result: :math:`(N, Q, E)`
    """
    q = split_heads(pool.q_proj(queries), pool.num_heads)
    k = split_heads(pool.k_proj(tokens), pool.num_heads)
    v = split_heads(pool.v_proj(tokens), pool.num_heads)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return pool.c_proj(out.transpose(1, 2).flatten(2))


def attention_pool(
    pool: AttentionPool2d, x: Tensor, *, pos_resize: str = 'bilinear', antialias: bool = False
) -> tuple[Tensor, Tensor]:
    """Full self-attention over the mean token and all pixels.

    Source: DenseCLIP section 3.2, equation 1 (``[g, z] = MHSA([mean(x), x])``).

    Args:
        pool: open_clip's module; its ``num_heads`` is used as it stands.
        x: Last feature map.
        pos_resize: How positions are fitted to the map.
        antialias: See :func:`denseclip.weights.resize_positions`.

    Returns:
        The image embedding g and the pixel embeddings z.

    Shape:
        - x: :math:`(N, C, h, w)`
        - g: :math:`(N, E)`; z: :math:`(N, E, h, w)`
    """
    tokens = pool_tokens(pool, x, pos_resize, antialias)
    out = attend(pool, tokens, tokens)
    return out[:, 0], out[:, 1:].transpose(1, 2).unflatten(2, x.shape[-2:])


def value_projection(pool: AttentionPool2d, x: Tensor) -> Tensor:
    """Each pixel's own value through the output projection: no attention, no positions.

    Source: MaskCLIP section 3.2.

    Shape:
        - x: :math:`(N, C, h, w)`; result: :math:`(N, E, h, w)`
    """
    return pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def pooler_values(pooler: AttentionalPooler, tokens: Tensor) -> Tensor:
    """What CoCa's attentional pooler would answer, to every query, if it saw one token only; for each token.

    Shape:
        - tokens: :math:`(N, L, C)`; result: :math:`(N, L, E)`
    """
    attn = pooler.attn
    weight = attn.in_proj_weight[-attn.embed_dim :] if attn.v_proj_weight is None else attn.v_proj_weight
    bias = None if attn.in_proj_bias is None else attn.in_proj_bias[-attn.embed_dim :]
    return attn.out_proj(F.linear(pooler.ln_k(tokens), weight, bias))


def masked_attention_pool(
    pool: AttentionPool2d, x: Tensor, masks: Tensor, *, pos_resize: str = 'bilinear', antialias: bool = False
) -> Tensor:
    """One embedding per mask: the mean token attends to the mask's pixels only.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.3, for ResNets.

    Args:
        pool: open_clip's module.
        x: Last feature map.
        masks: bool, which pixels belong to each mask. A mask without any is pooled over the whole map; the authors'
            code gives NaN there.
        pos_resize: How positions are fitted to the map.
        antialias: See :func:`denseclip.weights.resize_positions`.

    Shape:
        - x: :math:`(N, C, h, w)`
        - masks: :math:`(N, Q, h, w)`
        - result: :math:`(N, Q, E)`
    """
    tokens = pool_tokens(pool, x, pos_resize, antialias)
    visible = masks.flatten(2)
    visible = visible | ~visible.any(dim=-1, keepdim=True)
    queries = tokens[:, :1].expand(-1, masks.shape[1], -1)
    return attend(pool, queries, tokens[:, 1:], visible[:, None])
