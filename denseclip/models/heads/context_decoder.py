"""Context decoder: text queries attend to the visual context of the image (DenseCLIP, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn


class PromptAttention(nn.Module):
    """Multi-head attention with separate bias-free query, key and value projections.

    Args:
        dim: width of queries, keys and values.
        num_heads: number of heads; must divide ``dim``.
        dropout: dropout after the output projection; the attention weights themselves are never dropped.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'ContextDecoder width {dim} is not divisible by its {num_heads} heads.')
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attend from ``query`` (B, Q, D) to ``memory`` (B, M, D); returns (B, Q, D)."""

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        out = F.scaled_dot_product_attention(
            heads(self.q_proj(query)), heads(self.k_proj(memory)), heads(self.v_proj(memory))
        )
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


class ContextDecoderLayer(nn.Module):
    """Pre-norm self-attention among texts, cross-attention to the visual context, then an MLP.

    Args:
        dim: width.
        num_heads: attention heads.
        dropout: dropout of both attentions' outputs and of the MLP.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = PromptAttention(dim, num_heads, dropout)
        self.cross_attn = PromptAttention(dim, num_heads, dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 4), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim * 4, dim))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Update text queries ``x`` (B, K, D) from ``memory`` (B, M, D)."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


@MODELS.register_module()
class ContextDecoder(BaseModule):
    """Transformer decoder that adapts text embeddings (or learnable queries) to one image.

    Args:
        visual_dim: dimension E of queries and visual context.
        transformer_width: inner width.
        transformer_heads: attention heads.
        transformer_layers: number of layers.
        dropout: dropout probability.
        query_dim: dimension of the queries when it differs from ``visual_dim``; ``None`` means equal.
        out_dim: dimension of the output when it differs from the queries'; ``None`` means equal. Pre-model prompting
            with E != W sets both to the text tower's width W.
        init_cfg: MMEngine initialisation config.
    """

    def __init__(
        self,
        visual_dim: int = 1024,
        transformer_width: int = 256,
        transformer_heads: int = 4,
        transformer_layers: int = 6,
        dropout: float = 0.1,
        query_dim: int | None = None,
        out_dim: int | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width = transformer_width
        query_dim = query_dim or visual_dim
        out_dim = out_dim or query_dim
        self.visual_dim, self.query_dim, self.out_dim = visual_dim, query_dim, out_dim
        self.memory_proj = nn.Sequential(nn.LayerNorm(visual_dim), nn.Linear(visual_dim, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(nn.LayerNorm(query_dim), nn.Linear(query_dim, width))
        self.decoder = nn.ModuleList(
            ContextDecoderLayer(width, transformer_heads, dropout) for _ in range(transformer_layers)
        )
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_dim))
        self.apply(self._init_linear)

    @staticmethod
    def _init_linear(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Decode.

        Args:
            text: queries, (B, K, query_dim).
            visual: visual context, (B, M, visual_dim).

        Returns:
            Image-conditioned residual (post-model) or contexts (pre-model), (B, K, out_dim).
        """
        memory = self.memory_proj(visual)
        x = self.text_proj(text)
        for layer in self.decoder:
            x = layer(x, memory)
        return self.out_proj(x)
