"""Embeddings of the common nouns that words are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.text import TextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.text_cache import default_cache_dir
from denseclip.clip.unrelated import unrelated_rows, unrelated_words
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.precision import autocast_dtype

MAX_TEMPLATES = 4
"""Sentences per noun, where a model has more: text is encoded once, but on a CPU that is felt."""


class UnrelatedText:
    """Unit-length embeddings of :func:`unrelated_words`, made at the first use and kept on disk.

    Args:
        tower: Text tower.
        templates: Sentences of the model; the first few are taken.
    """

    def __init__(self, tower: TextTower, templates: Sequence[str]) -> None:
        self._tower, self._templates = tower, tuple(templates[:MAX_TEMPLATES])
        self._cache: tuple[Any, Tensor] | None = None

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embeddings of the nouns that are no names of a vocabulary, (M, E), where the tower is."""
        parameters = list(self._tower.parameters())
        place = parameters[0]
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in parameters)
        key = (versions, place.device, place.dtype, autocast_dtype(place.device.type))
        if self._cache is None or self._cache[0] != key:
            bank = TextBank(self._tower, self._templates, 'mean', default_cache_dir())
            # Tensors made under inference_mode could not take part in a later backward pass.
            with torch.inference_mode(False), torch.no_grad():
                self._cache = (key, bank.encode(Vocabulary.from_names(unrelated_words())).embeddings)
        return self._cache[1][unrelated_rows(vocabulary)]
