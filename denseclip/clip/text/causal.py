"""CLIP's causal text transformer, run at the true length of its prompts."""

from __future__ import annotations

from typing import Any, cast

import torch
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor, nn

from ..blocks import maybe_checkpoint
from ..deep_prompts import CoupledPrompts
from .base import TextTower, Tokenizer
from .prefixes import Beginnings, can_share, ends_of
from .tokenizers import default_tokenizer


class CLIPTextTower(TextTower):
    """The text half of a CLIP model: embedding, causal blocks, ``ln_final`` at the end token, projection.

    A token never sees what follows it, so padding behind the end token cannot change the result and is left out.
    State-dict names are open_clip's own: ``token_embedding``, ``positional_embedding``, ``transformer.resblocks.*``,
    ``ln_final.*``, ``text_projection``.

    Args:
        source: open_clip's ``TextTransformer``, or a whole ``CLIP`` model; its modules are shared, not copied.
        tokenizer: Default: CLIP's byte-pair tokenizer.
    """

    def __init__(self, source: nn.Module, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(tokenizer if tokenizer is not None else default_tokenizer())
        if not self.supports(source):
            raise ValueError('this text transformer is not causal with an end token; use FullLengthTextTower.')
        self.transformer: Any = source.transformer
        self.token_embedding = cast(nn.Embedding, source.token_embedding)
        self.positional_embedding = cast(nn.Parameter, source.positional_embedding)
        self.ln_final = cast(nn.Module, source.ln_final)
        self.text_projection = cast('nn.Linear | nn.Parameter | None', source.text_projection)
        self.pool = getattr(source, 'text_pool_type', None) or getattr(source, 'pool_type', 'argmax')
        self.eos_id: Any = getattr(source, 'text_eos_id', None) or getattr(source, 'eos_id', None)
        self.grad_checkpointing = False
        self.deep_prompts: CoupledPrompts | None = None

    def take_prompts(self, prompts: CoupledPrompts) -> None:
        """Put learned tokens before the words of every text, and into the first blocks.

        Raises:
            ValueError: If they do not fit this tower.
        """
        prompts.check(len(self.transformer.resblocks), self.width, image=False)
        self.deep_prompts = prompts

    @staticmethod
    def supports(source: nn.Module) -> bool:
        """Whether the module is a causal transformer that pools at the end token."""
        has_parts = all(hasattr(source, name) for name in ('transformer', 'token_embedding', 'ln_final'))
        causal = getattr(source, 'attn_mask', None) is not None and getattr(source, 'cls_emb', None) is None
        pool = getattr(source, 'text_pool_type', None) or getattr(source, 'pool_type', '')
        return has_parts and causal and pool in ('argmax', 'eos')

    @classmethod
    def create(
        cls,
        *,
        context_length: int = 77,
        vocab_size: int = 49408,
        width: int = 512,
        heads: int = 8,
        layers: int = 12,
        embed_dim: int = 512,
        quick_gelu: bool = True,
        tokenizer: Tokenizer | None = None,
    ) -> CLIPTextTower:
        """A tower with fresh weights (CLIP's initialisation); defaults are those of ViT-B/16."""
        activation: Any = QuickGELU if quick_gelu else nn.GELU
        text = TextTransformer(
            context_length=context_length,
            vocab_size=vocab_size,
            width=width,
            heads=heads,
            layers=layers,
            output_dim=embed_dim,
            act_layer=activation,
        )
        return cls(text, tokenizer)

    @property
    def context_length(self) -> int:  # type: ignore[override]
        """Number of learned positions that are left for texts."""
        return self.positional_embedding.shape[0] - (0 if self.deep_prompts is None else self.deep_prompts.length)

    @property
    def width(self) -> int:  # type: ignore[override]
        """Size of a word vector."""
        return self.token_embedding.weight.shape[1]

    @property
    def embed_dim(self) -> int:  # type: ignore[override]
        """Size of an embedding."""
        projection = self.text_projection
        if projection is None:
            return self.width
        return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]

    def extra_repr(self) -> str:
        """Pooling rule, for printing and for :meth:`fingerprint`."""
        return f'pool={self.pool}, eos_id={self.eos_id if self.pool == "eos" else None}'

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Where each prompt ends: the highest id (CLIP), or the first end token."""
        if self.pool == 'eos':
            return tokens.eq(self.eos_id).int().argmax(dim=-1)
        return tokens.argmax(dim=-1)

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None, *, added: Tensor | None = None) -> Tensor:
        """See :meth:`TextTower.encode_tokens`. With contexts the sequence is [start, contexts, rest].

        Where nothing is trained, texts without contexts that begin alike share what is alike, see :mod:`.prefixes`.

        Args:
            tokens: See there.
            contexts: See there.
            added: Added to the vectors of words and positions, (L, W) or (P, L, W); see :class:`.no_tower.NoTextTower`.

        Raises:
            ValueError: If there are contexts and deep prompts, or more tokens than positions.

        Source: CLIP section 2.4; DenseCLIP section 3.3 (``CLIPTextContextEncoder``).
        """
        if self.deep_prompts is not None:
            if contexts is not None:
                raise ValueError('this text tower has deep prompts, so it takes no further contexts.')
            contexts = self.deep_prompts.text()[0][None]
        ends = self.end_positions(tokens)
        blocks, sets = self.transformer.resblocks, 1
        plain = contexts is None and added is None and tokens.shape[1] <= len(self.positional_embedding)
        if plain and can_share(blocks, tokens):
            texts = Beginnings.of(tokens, ends)
            x = self.token_embedding(texts.tokens).to(self.positional_embedding.dtype)
            return self._project(ends_of(blocks, x + self.positional_embedding[texts.positions], texts))[None]
        if contexts is not None:
            sets, inserted = contexts.shape[:2]
            ends = (ends + inserted).repeat(sets)
        x = self._run_blocks(tokens, contexts, added)
        return self._project(x[torch.arange(x.shape[0], device=x.device), ends]).unflatten(0, (sets, -1))

    def token_states(self, tokens: Tensor) -> Tensor:
        """Every token of the prompts in the joint space, not only the one at the end.

        Args:
            tokens: Ids, padded at the end.

        Returns:
            States after ``ln_final`` and the projection, not normalised; what stands behind the end token is of no use.

        Shape:
            - tokens: :math:`(P, L)`
            - result: :math:`(P, L, E)`
        """
        return self._project(self._run_blocks(tokens))

    def _run_blocks(self, tokens: Tensor, contexts: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """Word vectors, contexts put in between them, through all blocks; the first have prompts of their own."""
        x = self.token_embedding(tokens).to(self.positional_embedding.dtype)
        if contexts is not None:
            x = insert_contexts(x, contexts.to(x.dtype))
        if x.shape[1] > len(self.positional_embedding):
            raise ValueError(
                f'{x.shape[1]} tokens (contexts included) do not fit into {len(self.positional_embedding)} positions: '
                "raise the text encoder's context_length or use shorter class names."
            )
        x = x + self.positional_embedding[: x.shape[1]]
        if added is not None:
            x = x + added.to(x.dtype)
        deep = [] if self.deep_prompts is None else self.deep_prompts.text()
        for index, block in enumerate(self.transformer.resblocks):
            if 0 < index < len(deep):
                own = deep[index].to(x.dtype).expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], own, x[:, 1 + own.shape[1] :]], dim=1)
            x = maybe_checkpoint(self.grad_checkpointing, block, x, causal=True)
        return x

    def _project(self, x: Tensor) -> Tensor:
        """``ln_final`` and the projection into the joint space."""
        x = self.ln_final(x)
        if isinstance(self.text_projection, nn.Linear):
            return self.text_projection(x)
        return x if self.text_projection is None else x @ self.text_projection


def insert_contexts(words: Tensor, contexts: Tensor) -> Tensor:
    """Put contexts between the first word vector and the rest, for every pair of context set and prompt.

    Shape:
        - words: :math:`(P, L, W)`
        - contexts: :math:`(B', N_2, W)`
        - result: :math:`(B' P, L + N_2, W)`, the prompts of one context set next to each other
    """
    sets, prompts = contexts.shape[0], words.shape[0]
    start = words[None, :, :1].expand(sets, -1, -1, -1)
    rest = words[None, :, 1:].expand(sets, -1, -1, -1)
    middle = contexts[:, None].expand(-1, prompts, -1, -1)
    return torch.cat([start, middle, rest], dim=2).flatten(0, 1)
