"""CLIP's text transformer as text side of DenseCLIP."""

from __future__ import annotations

from mmengine.registry import MODELS

from denseclip.clip.text import CLIPTextTower
from denseclip.models.clip_weights import clip_state
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .base import Pretrained, TextContextEncoder


@MODELS.register_module()
class CLIPTextContextEncoder(TextContextEncoder):
    """Causal CLIP text transformer with contexts between the start token and the class name.

    Args:
        context_length: number of positions N1 + N2; pretrained positions are cut to the first of them.
        embed_dim: dimension E of the joint space.
        transformer_width: token width W.
        transformer_heads: attention heads.
        transformer_layers: number of blocks.
        vocab_size: rows of the token embedding.
        quick_gelu: OpenAI's activation; False for weights trained with the exact GELU.
        frozen: see :class:`TextContextEncoder`. The authors' segmentation configs let it drift with a tiny rate.
        model: open_clip architecture, for tags in ``pretrained``.
        pretrained: OpenAI archive, open_clip tag or other source; see ``denseclip.models.clip_weights``.
    """

    def __init__(
        self,
        context_length: int = 13,
        embed_dim: int = 1024,
        transformer_width: int = 512,
        transformer_heads: int = 8,
        transformer_layers: int = 12,
        vocab_size: int = 49408,
        quick_gelu: bool = True,
        frozen: bool = True,
        model: str | None = None,
        pretrained: Pretrained | None = None,
    ) -> None:
        tower = CLIPTextTower.create(
            context_length=context_length,
            vocab_size=vocab_size,
            width=transformer_width,
            heads=transformer_heads,
            layers=transformer_layers,
            embed_dim=embed_dim,
            quick_gelu=quick_gelu,
        )
        super().__init__(tower, frozen, pretrained)
        self.model = model

    def load_pretrained(self, pretrained: Pretrained) -> None:
        """Load the text half of a CLIP model, its positions cut to the context length."""
        state = clip_state(pretrained, self.model)
        text = convert(state, 'openai_clip', part='text', context_length=self.tower.context_length)
        load_into(self.tower, text, source=str(pretrained))
