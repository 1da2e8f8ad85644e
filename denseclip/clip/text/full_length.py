"""Text towers that need their padding: SigLIP and CLIPA (not causal), CoCa, Hugging Face encoders."""

from __future__ import annotations

from typing import Any

import open_clip
from torch import Tensor, nn

from .base import TextTower, Tokenizer


class PlainTextHalf(nn.Module):
    """The text half of a plain ``open_clip.CLIP``, which keeps its parts beside the image tower (CLIPA).

    Args:
        clip: The model; its modules are shared, not copied.
    """

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        source: Any = clip
        self.transformer, self.ln_final = source.transformer, source.ln_final
        self.token_embedding, self.positional_embedding = source.token_embedding, source.positional_embedding
        self.text_projection = source.text_projection
        self.text_pool_type, self.text_eos_id = source.text_pool_type, source.text_eos_id
        self.register_buffer('attn_mask', source.attn_mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings (P, E) of ids (P, context_length), by open_clip's own rule."""
        half: Any = self
        return open_clip.CLIP.encode_text(half, tokens)


class FullLengthTextTower(TextTower):
    """Any text module of open_clip, run as it is on prompts padded to the full context.

    Args:
        text: The module; called with ids (P, context_length), it returns (P, E). Of a plain ``open_clip.CLIP`` the
            text half is taken.
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
        self.text = PlainTextHalf(text) if isinstance(text, open_clip.CLIP) else text
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
