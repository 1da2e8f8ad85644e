"""Class embeddings of an open-vocabulary model: one text bank, two sets of words, each encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.text import TextTower
from denseclip.clip.text_bank import TextBank, TextEmbeddings
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.precision import autocast_dtype


class Words:
    """A vocabulary and what is known of its embeddings; another vocabulary is another object.

    Args:
        vocabulary: None: not told yet.
        given: Embeddings made elsewhere.
    """

    def __init__(self, vocabulary: Vocabulary | None = None, given: TextEmbeddings | None = None) -> None:
        self.vocabulary = vocabulary
        self.given = given
        self.cache: tuple[Any, TextEmbeddings] | None = None


class ClassEmbeddings(nn.Module):
    """Unit-length embeddings of a vocabulary, kept until vocabulary, weights, device or dtype change.

    A model that is trained on other classes than it is used for has a second vocabulary. It is spoken inside of
    :meth:`training_words` only, so that no training step leaves its words behind.

    Args:
        tower: Text tower; it is frozen.
        templates: Set, sentence or sentences (see ``denseclip.clip.templates``).
        merge: ``'mean'``: one embedding per class. ``'max'``: one per name, the caller takes each class's best score.
        cache_dir: Folder of the disk cache of embeddings; None keeps them in memory only.
        train_vocabulary: Classes of the training; None: those in use.

    Attributes:
        caching: Set it to False to encode text at every call.
        words_in_use: The words outside of training.
    """

    def __init__(
        self,
        tower: TextTower,
        templates: str | Sequence[str] = 'openai_imagenet',
        merge: str = 'mean',
        cache_dir: str | Path | None = None,
        train_vocabulary: VocabularyLike | None = None,
    ) -> None:
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.bank = TextBank(tower, templates, merge, cache_dir)
        self.caching = True
        self.words_in_use = Words()
        self._of_training = None if train_vocabulary is None else Words(Vocabulary.of(train_vocabulary))
        self._training_speaks = False

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary that is spoken: the one in use, or within :meth:`training_words` that of the training."""
        return self._spoken.vocabulary

    @property
    def in_use(self) -> Vocabulary | None:
        """The vocabulary outside of training."""
        return self.words_in_use.vocabulary

    @property
    def train_vocabulary(self) -> Vocabulary | None:
        """Classes of the training, where they are others than those in use."""
        return None if self._of_training is None else self._of_training.vocabulary

    @contextmanager
    def training_words(self) -> Iterator[None]:
        """Speak of the classes of the training."""
        before, self._training_speaks = self._training_speaks, True
        try:
            yield
        finally:
            self._training_speaks = before

    @property
    def _spoken(self) -> Words:
        return self._of_training if self._training_speaks and self._of_training else self.words_in_use

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; with background prompts, ``'background'`` comes last."""
        vocabulary = self._known()
        return vocabulary.names + (('background',) if vocabulary.background_names else ())

    @property
    def num_rows(self) -> int:
        """Number of embeddings: classes, or names when classes are merged by their best name."""
        if self._spoken.given is not None:
            return self._spoken.given.embeddings.shape[0]
        return len(self._known().prompts) if self.bank.merge == 'max' else len(self.names)

    def _known(self) -> Vocabulary:
        if self.vocabulary is None:
            raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
        return self.vocabulary

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Use another vocabulary; its text is encoded at the next call."""
        self.words_in_use = Words(vocabulary)

    def set_embeddings(self, embeddings: Tensor, vocabulary: Vocabulary) -> None:
        """Use embeddings made elsewhere.

        Args:
            embeddings: One row per class, or per name (then the best name of a class counts).
            vocabulary: What the rows stand for.

        Raises:
            ValueError: If there are neither as many rows as classes nor as names, or they are of another size.

        Shape:
            - embeddings: :math:`(K, E)` or :math:`(P, E)`
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.tower.embed_dim:
            raise ValueError(
                f'embeddings of shape {tuple(embeddings.shape)} do not lie in the space of this model, which has '
                f'{self.tower.embed_dim} dimensions.'
            )
        index = vocabulary.class_index
        names = vocabulary.names + (('background',) if vocabulary.background_names else ())
        merge = 'mean' if embeddings.shape[0] == len(names) else 'max'
        if embeddings.shape[0] not in (len(names), len(index)):
            raise ValueError(
                f'{embeddings.shape[0]} embeddings for {len(names)} classes with {len(index)} names: give one per '
                'class or one per name.'
            )
        index = torch.arange(len(names), device='cpu') if merge == 'mean' else index
        rows = nn.functional.normalize(embeddings.detach(), dim=-1)
        self.words_in_use = Words(vocabulary, TextEmbeddings(rows, index.to(rows.device), names, merge))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings of different texts as they stand, (S, E)."""
        return TextBank(self.tower, '{}', 'max').encode(Vocabulary.from_names(texts)).embeddings

    def clear(self) -> None:
        """Forget encoded text."""
        for words in (self.words_in_use, self._of_training):
            if words is not None:
                words.cache = None

    def forward(self) -> TextEmbeddings:
        """Embeddings of the spoken vocabulary, on the tower's device."""
        parameters = list(self.tower.parameters())
        place, words = parameters[0], self._spoken
        if words.given is not None:
            return words.given.to(device=place.device, dtype=place.dtype)
        vocabulary = self._known()
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in parameters)
        key = (versions, place.device, place.dtype, autocast_dtype(place.device.type))
        if not self.caching:
            return TextBank(self.tower, self.bank.templates, self.bank.merge).encode(vocabulary)
        if words.cache is None or words.cache[0] != key:
            # Tensors made under inference_mode could not take part in a later backward pass.
            with torch.inference_mode(False), torch.no_grad():
                words.cache = (key, self.bank.encode(vocabulary))
        return words.cache[1]
