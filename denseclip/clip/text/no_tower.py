"""CLIPN's second text tower: it embeds what a text denies."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .base import TextTower
from .causal import CLIPTextTower

FILE_NAME = 'no_text.safetensors'
"""File beside the weights of a CLIP that holds this tower."""


class NoTextTower(TextTower):
    """A causal CLIP text tower with learned vectors that are added to every word of a text.

    In evaluation mode the mean of the vectors is added; in training mode, for each text, one of them or their mean.

    Args:
        tower: A tower of the right shape; it is copied, with its weights, which is how CLIPN's training begins.
        num_prompts: Number of learned vectors, zero at the beginning; 0: none.

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023, section 3.2.
    """

    prompts: nn.Parameter | None

    def __init__(self, tower: CLIPTextTower, num_prompts: int = 16) -> None:
        super().__init__(tower.tokenizer)
        self.tower = copy.deepcopy(tower)
        self.embed_dim, self.width, self.context_length = tower.embed_dim, tower.width, tower.context_length
        like = tower.positional_embedding
        zeros = torch.zeros(num_prompts, *like.shape, dtype=like.dtype, device=like.device)
        self.prompts = nn.Parameter(zeros) if num_prompts else None

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """See :meth:`TextTower.encode_tokens`; padding behind the end of a text changes nothing here either.

        Raises:
            ValueError: If contexts are given.
        """
        if contexts is not None:
            raise ValueError('the text tower that says no takes no learnable contexts.')
        return self.tower.encode_tokens(tokens, added=self._added(tokens))

    def _added(self, tokens: Tensor) -> Tensor | None:
        """What is added to word and position vectors, (L, W) or (P, L, W)."""
        if self.prompts is None:
            return None
        prompts = self.prompts[:, : tokens.shape[1]]
        mean = prompts.mean(dim=0)
        if not self.training:
            return mean
        choices = torch.cat([prompts, mean[None]])
        drawn = torch.randint(len(choices), (len(tokens),), device='cpu')  # so that all devices draw alike
        return choices[drawn.to(choices.device)]
