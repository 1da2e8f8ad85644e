"""Text towers that need their padding: SigLIP (not causal, pools the last token), CoCa, Hugging Face encoders."""

from __future__ import annotations

from torch import Tensor, nn

from .base import TextTower, Tokenizer


class FullLengthTextTower(TextTower):
    """Any text module of open_clip, run as it is on prompts padded to the full context.

    Args:
        text: The module; called with ids (P, context_length), it returns (P, E).
        tokenizer: Its tokenizer.
        context_length: Length that the module was trained at.
        embed_dim: Size of its embeddings.
        width: Size of its word vectors.
    """

    crops = False

    def __init__(
        self, text: nn.Module, tokenizer: Tokenizer, *, context_length: int, embed_dim: int, width: int
    ) -> None:
        super().__init__(tokenizer)
        self.text = text
        self.context_length = context_length
        self.embed_dim = embed_dim
        self.width = width

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """See :meth:`TextTower.encode_tokens`; learnable contexts need a causal tower.

        Raises:
            ValueError: If contexts are given.
        """
        if contexts is not None:
            raise ValueError(
                'this text tower takes no learnable contexts; use a causal CLIP tower or a sentence encoder.'
            )
        out = self.text(tokens)
        return (out[0] if isinstance(out, tuple) else out).unsqueeze(0)
