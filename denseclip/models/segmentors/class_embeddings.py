"""Class embeddings of an open-vocabulary model: one text bank, encoded once per vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.text import TextTower
from denseclip.clip.text_bank import TextBank, TextEmbeddings
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.precision import autocast_dtype


class ClassEmbeddings(nn.Module):
    """Unit-length embeddings of the present vocabulary, kept until vocabulary, weights, device or dtype change.

    Args:
        tower: Text tower; it is frozen.
        templates: Set, sentence or sentences (see ``denseclip.clip.templates``).
        merge: ``'mean'``: one embedding per class. ``'max'``: one per name, the caller takes each class's best score.
        cache_dir: Folder of the disk cache of embeddings; None keeps them in memory only.

    Attributes:
        caching: Set it to False to encode text at every call.
    """

    def __init__(
        self,
        tower: TextTower,
        templates: str | Sequence[str] = 'openai_imagenet',
        merge: str = 'mean',
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.bank = TextBank(tower, templates, merge, cache_dir)
        self.caching = True
        self.vocabulary: Vocabulary | None = None
        self._given: TextEmbeddings | None = None
        self._cache: tuple[Any, TextEmbeddings] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; with background prompts, ``'background'`` comes last."""
        if self.vocabulary is None:
            raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
        return self.vocabulary.names + (('background',) if self.vocabulary.background_names else ())

    @property
    def num_rows(self) -> int:
        """Number of embeddings: classes, or names when classes are merged by their best name."""
        if self._given is not None:
            return self._given.embeddings.shape[0]
        assert self.vocabulary is not None
        return len(self.vocabulary.prompts) if self.bank.merge == 'max' else len(self.names)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Take another vocabulary; its text is encoded at the next call."""
        self.vocabulary = vocabulary
        self._given = None
        self.clear()

    def set_embeddings(self, embeddings: Tensor, vocabulary: Vocabulary) -> None:
        """Use embeddings made elsewhere.

        Args:
            embeddings: One row per class, or per name (then the best name of a class counts).
            vocabulary: What the rows stand for.

        Raises:
            ValueError: If there are neither as many rows as classes nor as names.

        Shape:
            - embeddings: :math:`(K, E)` or :math:`(P, E)`
        """
        self.vocabulary = vocabulary
        index, names = vocabulary.class_index, self.names
        merge = 'mean' if embeddings.shape[0] == len(names) else 'max'
        if embeddings.shape[0] not in (len(names), len(index)):
            raise ValueError(
                f'{embeddings.shape[0]} embeddings for {len(names)} classes with {len(index)} names: give one per '
                'class or one per name.'
            )
        index = torch.arange(len(names), device='cpu') if merge == 'mean' else index
        rows = nn.functional.normalize(embeddings.detach(), dim=-1)
        self._given = TextEmbeddings(rows, index.to(rows.device), names, merge)
        self.clear()

    def clear(self) -> None:
        """Forget encoded text."""
        self._cache = None

    def forward(self) -> TextEmbeddings:
        """Embeddings of the vocabulary, on the tower's device."""
        parameters = list(self.tower.parameters())
        place = parameters[0]
        if self._given is not None:
            return self._given.to(device=place.device, dtype=place.dtype)
        if self.vocabulary is None:
            raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in parameters)
        key = (versions, place.device, place.dtype, autocast_dtype(place.device.type))
        if not self.caching:
            return TextBank(self.tower, self.bank.templates, self.bank.merge).encode(self.vocabulary)
        if self._cache is None or self._cache[0] != key:
            # Tensors made under inference_mode could not take part in a later backward pass.
            with torch.inference_mode(False), torch.no_grad():
                self._cache = (key, self.bank.encode(self.vocabulary))
        return self._cache[1]
