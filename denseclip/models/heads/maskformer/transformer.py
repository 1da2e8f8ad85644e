"""DETR's transformer: positions are added to queries and keys in every layer, never to values.

The layers are PyTorch's own, so their parameters keep the names that DETR, MaskFormer and OVSeg have in their files;
only the order of the steps is written here, because PyTorch's layers know no positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..query_guide import QueryGuide


class EncoderLayer(nn.TransformerEncoderLayer):
    """Self-attention over the places of a map, then a feed-forward network.

    Args:
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward network.
        dropout: Dropout of attention weights and of both parts.
        pre_norm: Normalise before each part instead of after its residual.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__(dim, num_heads, ffn_dim, dropout, batch_first=True, norm_first=pre_norm)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        """Run the layer.

        Shape:
            - x and result: :math:`(N, L, C)`; positions: broadcastable to them
        """
        if self.norm_first:
            x = x + self._attend(self.norm1(x), positions)
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x, positions))
        return self.norm2(x + self._feed(x))

    def _attend(self, x: Tensor, positions: Tensor) -> Tensor:
        key = x + positions
        return self.dropout1(self.self_attn(key, key, x, need_weights=False)[0])

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.linear1(x).relu())))


class DecoderLayer(nn.TransformerDecoderLayer):
    """Self-attention of the queries, cross-attention to the picture, then a feed-forward network.

    Args:
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward network.
        dropout: Dropout of attention weights and of all parts.
        pre_norm: Normalise before each part instead of after its residual.
        index: Number of this layer, for the guide; a number of the module is a constant of its graph.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool, index: int = 0) -> None:
        super().__init__(dim, num_heads, ffn_dim, dropout, batch_first=True, norm_first=pre_norm)
        self.index = index

    def forward(  # type: ignore[override]
        self,
        queries: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        keys: Tensor,
        guide: QueryGuide | None = None,
    ) -> Tensor:
        """Run the layer.

        Args:
            queries: Content of the queries.
            query_pos: Their positions.
            memory: Places of the picture, the values of the cross-attention.
            keys: The same with positions added.
            guide: Steers the queries, see :class:`denseclip.models.heads.query_guide.QueryGuide`.

        Shape:
            - queries and result: :math:`(N, Q, C)`; query_pos: :math:`(Q, C)`; memory and keys: :math:`(N, L, C)`
        """
        if self.norm_first:
            queries = queries + self._attend_queries(self.norm1(queries), query_pos)
        else:
            queries = self.norm1(queries + self._attend_queries(queries, query_pos))
        if guide is not None:
            queries = guide(self.index, 'after_self', queries, query_pos)
            queries = guide(self.index, 'before_image', queries, query_pos)
        if self.norm_first:
            queries = queries + self._attend_picture(self.norm2(queries), query_pos, memory, keys)
        else:
            queries = self.norm2(queries + self._attend_picture(queries, query_pos, memory, keys))
        if guide is not None:
            queries = guide(self.index, 'after_image', queries, query_pos)
        if self.norm_first:
            return queries + self._feed(self.norm3(queries))
        return self.norm3(queries + self._feed(queries))

    def _attend_queries(self, queries: Tensor, query_pos: Tensor) -> Tensor:
        key = queries + query_pos
        return self.dropout1(self.self_attn(key, key, queries, need_weights=False)[0])

    def _attend_picture(self, queries: Tensor, query_pos: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        return self.dropout2(self.multihead_attn(queries + query_pos, keys, memory, need_weights=False)[0])

    def _feed(self, queries: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(self.linear1(queries).relu())))


class Encoder(nn.Module):
    """Layers over the places of a map; with ``pre_norm`` a last norm.

    Args:
        num_layers: How many; none leaves the map as it is.
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks.
        dropout: Dropout.
        pre_norm: See :class:`EncoderLayer`.
    """

    def __init__(self, num_layers: int, dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, num_heads, ffn_dim, dropout, pre_norm) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim) if pre_norm and num_layers else None

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Run all layers, (N, L, C) to (N, L, C)."""
        for layer in self.layers:
            x = layer(x, positions)
        return x if self.norm is None else self.norm(x)


class Decoder(nn.Module):
    """Layers for the queries; one norm is applied to the output of each of them.

    Args:
        num_layers: How many.
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks.
        dropout: Dropout.
        pre_norm: See :class:`DecoderLayer`.
    """

    def __init__(self, num_layers: int, dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(dim, num_heads, ffn_dim, dropout, pre_norm, index) for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        query_pos: Tensor,
        memory: Tensor,
        positions: Tensor,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool = True,
    ) -> Tensor:
        """Normed output of every layer, or of the last one only; the queries start from zero.

        Shape:
            - query_pos: :math:`(Q, C)`; memory: :math:`(N, L, C)`; positions: broadcastable to it
            - result: :math:`(layers, N, Q, C)`
        """
        queries = torch.zeros_like(query_pos).expand(memory.shape[0], -1, -1)
        keys = memory + positions
        outputs = []
        for layer in self.layers:
            queries = layer(queries, query_pos, memory, keys, guide)
            if all_layers:
                outputs.append(self.norm(queries))
        return torch.stack(outputs) if all_layers else self.norm(queries)[None]


class Transformer(nn.Module):
    """An encoder, a decoder, or both under one name, with xavier-uniform matrices.

    Args:
        encoder: The encoder.
        decoder: The decoder.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def init_weights(self) -> None:
        """Fresh matrices; vectors keep PyTorch's own initial values."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N, h * w, C)."""
    return x.flatten(2).transpose(1, 2)
