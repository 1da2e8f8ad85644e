"""CLIP's text transformer as text side of DenseCLIP."""

from __future__ import annotations

import open_clip
from mmengine.registry import MODELS

from denseclip.clip.text import CLIPTextTower
from denseclip.models.clip_weights import Pretrained, clip_state, quick_gelu_of
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .base import TextContextEncoder


@MODELS.register_module()
class CLIPTextContextEncoder(TextContextEncoder):
    """Causal CLIP text transformer with contexts between the start token and the class name.

    Args:
        model: open_clip architecture that gives the defaults of the sizes, such as ``'RN50'`` or ``'ViT-B-16'``.
        context_length: number of positions N1 + N2; pretrained positions are cut to the first of them.
        embed_dim: dimension E of the joint space.
        transformer_width: token width W.
        transformer_heads: attention heads.
        transformer_layers: number of blocks.
        vocab_size: rows of the token embedding.
        quick_gelu: OpenAI's activation or, when False, the exact GELU; None is what the weights were trained with.
        frozen: see :class:`TextContextEncoder`. The authors' segmentation configs let it drift with a tiny rate.
        pretrained: OpenAI archive, open_clip tag or other source; see ``denseclip.models.clip_weights``.
    """

    def __init__(
        self,
        model: str = 'RN50',
        context_length: int = 13,
        embed_dim: int | None = None,
        transformer_width: int | None = None,
        transformer_heads: int | None = None,
        transformer_layers: int | None = None,
        vocab_size: int | None = None,
        quick_gelu: bool | None = None,
        frozen: bool = True,
        pretrained: Pretrained | None = None,
    ) -> None:
        config = open_clip.get_model_config(model)
        text = (config or {}).get('text_cfg', {})
        if config is None or 'hf_model_name' in text:
            raise ValueError(f'CLIPTextContextEncoder: "{model}" has no CLIP text transformer in open_clip.')
        tower = CLIPTextTower.create(
            context_length=context_length,
            vocab_size=vocab_size or text['vocab_size'],
            width=transformer_width or text['width'],
            heads=transformer_heads or text['heads'],
            layers=transformer_layers or text['layers'],
            embed_dim=embed_dim or config['embed_dim'],
            quick_gelu=quick_gelu_of(pretrained, model) if quick_gelu is None else quick_gelu,
        )
        super().__init__(tower, frozen, pretrained)
        self.model = model

    def load_pretrained(self, pretrained: Pretrained) -> None:
        """Load the text half of a CLIP model, its positions cut to the context length."""
        state = clip_state(pretrained, self.model)
        text = convert(state, 'openai_clip', part='text', context_length=self.tower.context_length)
        load_into(self.tower, text, source=str(pretrained))
