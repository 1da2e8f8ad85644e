"""Content-dependent transfer: text embeddings that look at the picture before they classify its masks (MAFT+)."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import Tensor, nn

from .mask2former.positions import sine_positions

VARIANTS = ('semantic', 'panoptic')


@MODELS.register_module()
class ContentDependentTransfer(nn.Module):
    r"""One cross-attention from text embeddings to the pixel embeddings of a picture.

    With :math:`U = \text{Linear}(\text{MHA}(T, X + P, X))`, the semantic models have :math:`T' = \text{LN}(T + U)`; the
    panoptic one has :math:`T' = T + \text{LN}(U)` with the linear layer starting at zero, so that it starts as the
    identity. The norm has another name in each, so that weights of one do not fit the other. A row depends on itself
    and the picture alone, so further classes change nothing for the others. :math:`T'` is not normalised.

    Source: MAFT+ (Jiao et al., ECCV 2024), section 3.2.

    Args:
        embed_dim: Size D of the joint space.
        num_heads: Attention heads.
        variant: ``'semantic'`` or ``'panoptic'``.

    Raises:
        ValueError: If the variant is unknown, or D cannot be split into heads.
    """

    def __init__(self, embed_dim: int, num_heads: int = 8, variant: str = 'semantic') -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant='{variant}' is unknown; choose from {', '.join(VARIANTS)}.")
        if embed_dim % num_heads or embed_dim % 4:
            raise ValueError(
                f'embed_dim={embed_dim} must be a multiple of num_heads={num_heads} and, for the position code, of 4.'
            )
        self.variant = variant
        self.attention = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True)
        self.linear = nn.Linear(embed_dim, embed_dim)
        if variant == 'semantic':
            self.norm = nn.LayerNorm(embed_dim)
        else:
            self.update_norm = nn.LayerNorm(embed_dim)
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, text: Tensor, pixels: Tensor) -> Tensor:
        """Text embeddings for each picture.

        Args:
            text: Embeddings of names, shared by the pictures.
            pixels: Pixel embeddings in the joint space, not normalised.

        Shape:
            - text: :math:`(R, D)`
            - pixels: :math:`(N, D, h, w)`
            - result: :math:`(N, R, D)`
        """
        values = pixels.flatten(2).transpose(1, 2)
        code = sine_positions(pixels).flatten(2).transpose(1, 2).to(values.dtype)
        text = text.expand(pixels.shape[0], -1, -1)
        update = self.linear(self.attention(text, values + code, values, need_weights=False)[0])
        return self.norm(text + update) if self.variant == 'semantic' else text + self.update_norm(update)

    def extra_repr(self) -> str:
        """The variant, for printing."""
        return f'variant={self.variant!r}'
