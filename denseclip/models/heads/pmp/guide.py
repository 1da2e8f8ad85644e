"""The prompt guide: everything PMP adds to a mask decoder, in one module beside the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..query_guide import GuidePosition
from .attention import TextQueryAttention
from .tokens import PromptTokens

POSITIONS: tuple[GuidePosition, ...] = ('before_image', 'after_image', 'after_self')


@MODELS.register_module()
class PromptGuide(BaseModule):
    """Text attention for every layer of a mask decoder, and the projection of text into its width.

    It holds no part of the host. :meth:`bind` gives a guide for one batch of prompts, which the decoder calls in every
    layer, so that the masks of each layer are guided by the prompts ("after each decoding", paper's abstract). With
    Mask2Former the first output, which comes before all layers, stays free of prompts.

    Text tokens are made unit-length, projected by one linear layer for all decoder layers, and layer-normalised. They
    get no position: a list of prompts is a set.

    Args:
        text_dim: Width E of the text embeddings.
        dim: Width d of the decoder's queries.
        num_layers: Layers of the decoder.
        num_heads: Attention heads, as the host has.
        position: Where in each layer the queries look at the text: ``'before_image'`` (a guided query decides where to
            look in the image), ``'after_image'`` or ``'after_self'``.
        norm: See :class:`TextQueryAttention`.
        layers: Decoder layers that look at the text; None is all of them.
        text_update: Let the tokens also look at the queries, after the queries looked at them.
        init_cfg: MMEngine initialisation config.

    Note:
        ``position``, ``norm``, ``layers`` and ``text_update`` are options because the paper's text leaves them open to
        us; the defaults are choices of this suite.
    """

    def __init__(
        self,
        text_dim: int,
        dim: int = 256,
        num_layers: int = 9,
        num_heads: int = 8,
        position: GuidePosition = 'before_image',
        norm: str = 'pre',
        layers: Sequence[int] | None = None,
        text_update: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if position not in POSITIONS:
            raise ValueError(f"position='{position}' is unknown; choose from {', '.join(POSITIONS)}.")
        chosen = range(num_layers) if layers is None else sorted(set(layers))
        if not chosen or chosen[0] < 0 or chosen[-1] >= num_layers:
            raise ValueError(f'layers={layers} must name at least one of the decoder layers 0..{num_layers - 1}.')
        self.text_dim, self.dim, self.num_layers, self.position = text_dim, dim, num_layers, position
        self.proj = nn.Linear(text_dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleDict({str(i): TextQueryAttention(dim, num_heads, norm) for i in chosen})
        # The last layer's tokens would be updated for nobody.
        updating = list(chosen)[:-1] if text_update else []
        self.text_layers = nn.ModuleDict({str(i): TextQueryAttention(dim, num_heads, norm) for i in updating})
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def project(self, prompts: PromptTokens) -> Tensor:
        """Tokens in the width of the queries, zero where there is none.

        Returns:
            LN(W · t/‖t‖ + b), (N, T, d).
        """
        if prompts.tokens.shape[-1] != self.text_dim:
            raise ValueError(
                f'the prompts are {prompts.tokens.shape[-1]} wide, this guide was built with text_dim={self.text_dim}: '
                'set text_dim to the width of the text embeddings.'
            )
        tokens = self.norm(self.proj(normalize(prompts.tokens.to(self.proj.weight.dtype), dim=-1)))
        return tokens.masked_fill(prompts.absent[..., None], 0.0)

    def bind(self, prompts: PromptTokens | None, watch: bool = False) -> TokenGuide | None:
        """The guide for one batch; None, which leaves the host alone, when there is no prompt at all.

        Args:
            prompts: Prompts of the batch.
            watch: Let the guide note where the queries look, for :meth:`TokenGuide.attention_loss`.
        """
        if prompts is None or prompts.tokens.shape[1] == 0:
            return None
        return TokenGuide(self, self.project(prompts), prompts.absent, prompts.present if watch else None)


class TokenGuide:
    """A :class:`~denseclip.models.heads.query_guide.QueryGuide` that knows the prompts of one batch.

    Args:
        guide: Holds the weights.
        tokens: Projected tokens (N, T, d).
        absent: bool (N, T), True where there is no token.
        present: bool (N, T), True at tokens of classes that are in the image; None: attention is not watched.
    """

    def __init__(self, guide: PromptGuide, tokens: Tensor, absent: Tensor, present: Tensor | None = None) -> None:
        self.guide, self.absent, self.present = guide, absent, present
        self._start = self._tokens = tokens
        self._found: list[Tensor] = []

    def __call__(self, layer: int, position: GuidePosition, queries: Tensor, query_pos: Tensor) -> Tensor:
        """See :class:`~denseclip.models.heads.query_guide.QueryGuide`."""
        if position != self.guide.position:
            return queries
        if layer == 0:  # every run of the decoder starts with the tokens as they were bound
            self._tokens, self._found = self._start, []
        name = str(layer)
        if name not in self.guide.layers:
            return queries
        if queries.shape[0] != self._tokens.shape[0]:
            raise ValueError(f'prompts for {self._tokens.shape[0]} images meet queries of {queries.shape[0]}.')
        attention: TextQueryAttention = self.guide.layers[name]  # type: ignore[assignment]
        watched = self.present is not None
        queries, seen = attention.attend(queries, query_pos, self._tokens, self.absent, watched)
        if self.present is not None and seen is not None:
            self._found.append((seen * self.present[:, None, None]).sum(-1).mean(dim=(1, 2)))
        if name in self.guide.text_layers:
            nobody = self.absent.new_zeros(queries.shape[:2])
            no_position = queries.new_zeros(())
            self._tokens = self.guide.text_layers[name](self._tokens, no_position, queries, nobody)
        return queries

    def attention_loss(self) -> Tensor:
        """How little the queries looked at what is there, in the last run of the decoder.

        Returns:
            −log of the share of attention that tokens of present classes got, the share being a mean over queries and
            heads; mean over layers and over images with any such token, 0 without.
        """
        if self.present is None or not self._found:
            raise ValueError('nothing was watched: bind the guide with watch=True and run a decoder with it.')
        share = torch.stack(self._found).float().clamp_min(1e-6)
        known = self.present.any(dim=1)
        return -(share.log() * known).sum() / (known.sum().clamp_min(1) * len(share))
