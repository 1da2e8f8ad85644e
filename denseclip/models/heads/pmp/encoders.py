"""From prompts to text tokens: one token per prompt, or one per word piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.text import CLIPTextTower, TextTower
from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.precision import autocast_dtype

from .tokens import PromptTable

TOKENS = ('category', 'word')
_BATCH = 256


def category_table(text: TextEmbeddings) -> PromptTable:
    """One token per prompt: the embedding that also classifies.

    Args:
        text: Embeddings of a vocabulary, one per name or one per class.
    """
    rows = text.embeddings.detach()
    absent = torch.zeros(len(rows), 1, dtype=torch.bool, device=rows.device)
    return PromptTable(rows[:, None], absent, text.class_index, len(text))


class WordEncoder:
    """One token per word piece: all states of the text tower from the start token to the end token.

    Prompts are encoded as they stand, without templates, once per list and state of the tower.
    """

    def __init__(self) -> None:
        self._cache: tuple[Any, PromptTable] | None = None

    def __call__(self, tower: TextTower, vocabulary: Vocabulary) -> PromptTable:
        """Tokens of all names of a vocabulary.

        Args:
            tower: A causal CLIP text tower.
            vocabulary: What to encode.

        Raises:
            ValueError: If the tower has no states of single tokens in the joint space.
        """
        if not isinstance(tower, CLIPTextTower):
            raise ValueError(
                f"tokens='word' needs the token states of a causal CLIP text tower, not of {type(tower).__name__}; "
                "use tokens='category'."
            )
        parameters = list(tower.parameters())
        place = parameters[0]
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in parameters)
        key = (vocabulary.prompts, versions, place.device, place.dtype, autocast_dtype(place.device.type))
        if self._cache is None or self._cache[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                states, absent = word_states(tower, vocabulary.prompts)
            index = vocabulary.class_index.to(states.device)
            self._cache = (key, PromptTable(states, absent, index, len(vocabulary.groups)))
        return self._cache[1]


def word_states(tower: CLIPTextTower, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """States of all tokens of prompts in the joint space.

    Returns:
        States (P, L, E), not normalised, L being the longest prompt's length; and bool (P, L), True behind its end.
    """
    place = next(tower.parameters())
    ids = tower.tokenize(prompts).to(place.device)
    states = torch.cat([tower.token_states(part) for part in ids.split(_BATCH)])
    places = torch.arange(ids.shape[1], device=ids.device)
    return states, places > tower.end_positions(ids)[:, None]
