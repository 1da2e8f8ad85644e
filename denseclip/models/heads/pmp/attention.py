"""Cross-attention from the queries of a mask decoder to text tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORMS = ('pre', 'post')


class TextQueryAttention(nn.Module):
    """Queries look at the prompts: one multi-head attention and a residual.

    ``norm='pre'``: q + γ·MHA(LN(q) + p, t, t) with γ zero at the start, so that a trained decoder is left exactly as it
    is until γ has learned something. ``norm='post'``, for training from scratch: LN(q + MHA(q + p, t, t)), as the
    attentions of Mask2Former's decoder are.

    The paper's abstract names a cross-attention between text tokens and query tokens; norm, gate and initialisation
    are choices of this suite.

    Args:
        dim: Width d of queries and tokens.
        num_heads: Attention heads; must divide ``dim``.
        norm: ``'pre'`` or ``'post'``.

    Attributes:
        gamma: Gate per channel (d,); None for ``norm='post'``.
    """

    gamma: nn.Parameter | None

    def __init__(self, dim: int, num_heads: int = 8, norm: str = 'pre') -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm='{norm}' is unknown; choose from {', '.join(NORMS)}.")
        if dim % num_heads:
            raise ValueError(f'queries of width {dim} cannot be divided among {num_heads} heads.')
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.gamma = nn.Parameter(torch.empty(dim)) if norm == 'pre' else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform attention with zero biases, identity norm, zero gate."""
        nn.init.xavier_uniform_(self.attn.in_proj_weight)
        nn.init.xavier_uniform_(self.attn.out_proj.weight)
        nn.init.zeros_(self.attn.in_proj_bias)
        nn.init.zeros_(self.attn.out_proj.bias)
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        if self.gamma is not None:
            nn.init.zeros_(self.gamma)

    def forward(self, queries: Tensor, query_pos: Tensor, tokens: Tensor, absent: Tensor) -> Tensor:
        """Queries after looking at the prompts; those of an image without any token are returned as they came.

        Args:
            queries: Content of the queries.
            query_pos: Their position embedding.
            tokens: Projected text tokens.
            absent: True where there is no token.

        Shape:
            queries N×Q×d, query_pos N×Q×d or Q×d, tokens N×T×d, absent N×T → N×Q×d
        """
        return self.attend(queries, query_pos, tokens, absent)[0]

    def attend(
        self, queries: Tensor, query_pos: Tensor, tokens: Tensor, absent: Tensor, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """What :meth:`forward` returns, and where the queries looked; arguments and weights as of :meth:`look`."""
        if tokens.shape[1] == 0:
            return queries, None
        update, seen = self.look(queries, query_pos, tokens, absent, weights)
        if self.gamma is not None:
            return queries + self.gamma * update, seen
        has_text = ~absent.all(dim=1)
        return torch.where(has_text[:, None, None], self.norm(queries + update), queries), seen

    def look(
        self, queries: Tensor, query_pos: Tensor, tokens: Tensor, absent: Tensor, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """What the attention alone gives, and where it looked.

        Args:
            queries: See :meth:`forward`; so for the next three. T is at least 1.
            query_pos: Position embedding.
            tokens: Text tokens.
            absent: True where there is no token.
            weights: Also return the attention weights of every head.

        Returns:
            The update u (N, Q, d), zero for images without any token; and weights (N, heads, Q, T), zero at absent
            tokens and in images without any, else summing to 1, or None.
        """
        at = queries if self.gamma is None else self.norm(queries)
        empty = absent.all(dim=1, keepdim=True)
        # A row in which everything is masked would make the softmax, and through it every gradient, NaN: such images
        # look at their (zeroed) padding, and what they see is thrown away.
        update, seen = self.attn(
            at + query_pos,
            tokens,
            tokens,
            key_padding_mask=absent & ~empty,
            need_weights=weights,
            average_attn_weights=False,
        )
        update = update.masked_fill(empty[..., None], 0.0)
        if seen is not None:
            seen = seen.masked_fill(empty[..., None, None], 0.0)
        return update, seen
