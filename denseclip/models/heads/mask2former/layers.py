"""The three parts of a masked decoder layer: attention to the picture, attention among the queries, feed-forward."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.blocks import split_heads

from ..query_guide import QueryGuide


class ResidualAttention(nn.Module):
    """Multi-head attention with a residual and a layer norm after it (``pre_norm``: before it).

    Args:
        dim: Width.
        num_heads: Attention heads.
        dropout: Dropout of attention weights and of the branch.
        pre_norm: Normalise what comes in instead of the sum.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        for parameter in (self.attn.in_proj_weight, self.attn.out_proj.weight):
            nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        queries: Tensor,
        query_pos: Tensor,
        memory: Tensor | None = None,
        memory_pos: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Attend; positions are added to queries and keys, never to values.

        Args:
            queries: What asks.
            query_pos: Its positions.
            memory: What is looked at; None: the queries themselves.
            memory_pos: Positions of the memory.
            allowed: True where a query may look, for all heads or per head; no row may be False throughout.

        Shape:
            - queries and result: :math:`(N, Q, C)`; memory: :math:`(N, L, C)`; positions broadcast to them
            - allowed: :math:`(N, 1, Q, L)` or :math:`(N, heads, Q, L)`
        """
        x = self.norm(queries) if self.pre_norm else queries
        asking = x + query_pos
        if memory is None:
            out = self._attend(asking, asking, x, allowed)
        else:
            out = self._attend(asking, memory if memory_pos is None else memory + memory_pos, memory, allowed)
        out = queries + self.dropout(out)
        return out if self.pre_norm else self.norm(out)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        """The module's own attention, with one mask for all heads instead of a copy per head."""
        attn = self.attn
        weights, biases = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        q, k, v = (
            split_heads(F.linear(x, weight, bias), attn.num_heads)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        dropout = attn.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
        return attn.out_proj(out.transpose(1, 2).flatten(2))


class ResidualFeedForward(nn.Module):
    """Two linear layers with ReLU, a residual and a layer norm as in :class:`ResidualAttention`.

    Args:
        dim: Width.
        ffn_dim: Width inside.
        dropout: Dropout of the hidden units and of the branch.
        pre_norm: Normalise what comes in instead of the sum.
    """

    def __init__(self, dim: int, ffn_dim: int, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (N, Q, C)."""
        inner = self.norm(x) if self.pre_norm else x
        out = x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(inner)))))
        return out if self.pre_norm else self.norm(out)


class MaskedDecoderLayer(nn.Module):
    """Masked attention to the picture, then among the queries, then feed-forward (Mask2Former, section 3.2.2).

    Args:
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward network.
        dropout: Dropout of all parts.
        pre_norm: Normalise before the parts instead of after them.
        index: Number of this layer, for the guide; a number of the module is a constant of its graph.
    """

    def __init__(
        self, dim: int, num_heads: int, ffn_dim: int, dropout: float = 0.0, pre_norm: bool = False, index: int = 0
    ) -> None:
        super().__init__()
        self.index = index
        self.image_attention = ResidualAttention(dim, num_heads, dropout, pre_norm)
        self.self_attention = ResidualAttention(dim, num_heads, dropout, pre_norm)
        self.feed_forward = ResidualFeedForward(dim, ffn_dim, dropout, pre_norm)

    def forward(
        self,
        queries: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_pos: Tensor,
        allowed: Tensor | None,
        guide: QueryGuide | None = None,
    ) -> Tensor:
        """One layer.

        Args:
            queries: Content of the queries.
            query_pos: Their positions.
            memory: Pixels of one level.
            memory_pos: Positions of the pixels.
            allowed: Pixels that each query may look at; None: all.
            guide: Told of the queries before and after the attention to the picture and after the self-attention.

        Shape:
            - queries and result: :math:`(N, Q, C)`; query_pos: :math:`(Q, C)` or :math:`(N, Q, C)`
            - memory: :math:`(N, L, C)`; memory_pos: :math:`(1, L, C)`; allowed: :math:`(N, 1, Q, L)`
        """
        if guide is not None:
            queries = guide(self.index, 'before_image', queries, query_pos)
        queries = self.image_attention(queries, query_pos, memory, memory_pos, allowed)
        if guide is not None:
            queries = guide(self.index, 'after_image', queries, query_pos)
        queries = self.self_attention(queries, query_pos)
        if guide is not None:
            queries = guide(self.index, 'after_self', queries, query_pos)
        return self.feed_forward(queries)
