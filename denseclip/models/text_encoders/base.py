"""Text towers as MMEngine modules with DenseCLIP's call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from denseclip.clip.text import TextTower
from denseclip.models.clip_weights import Pretrained
from denseclip.models.pretrained_module import PretrainedModule


class TextContextEncoder(PretrainedModule):
    """A text tower that embeds tokens with learnable contexts inserted after the start token.

    Args:
        tower: The text tower.
        frozen: Its parameters get no gradient and it stays in evaluation mode; gradients still flow through it to the
            contexts.
        pretrained: Where :meth:`init_weights` finds weights for the tower.
    """

    sourced_prefixes = ('tower.',)

    def __init__(self, tower: TextTower, frozen: bool = True, pretrained: Pretrained | None = None) -> None:
        super().__init__(pretrained)
        self.tower = tower
        self.frozen = frozen
        if frozen:
            self.tower.eval().requires_grad_(False)

    @property
    def embed_dim(self) -> int:
        """Dimension E of the embeddings."""
        return self.tower.embed_dim

    @property
    def width(self) -> int:
        """Dimension W of a word vector and of a context."""
        return self.tower.width

    @property
    def context_length(self) -> int:
        """Most tokens that the tower takes, contexts included."""
        return self.tower.context_length

    def train(self, mode: bool = True) -> TextContextEncoder:
        """Set the mode; a frozen tower stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        return self

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> Tensor:
        """Token ids (P, L), padded to the longest prompt only."""
        return self.tower.tokenize(texts, max_length)

    def forward(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """Embed prompts.

        Args:
            tokens: token ids, (K, N1).
            contexts: (B', N2, W); B' = 1 when shared by all images.

        Returns:
            Embeddings, not normalised, (B', K, E).
        """
        return self.tower.encode_tokens(tokens, contexts)
