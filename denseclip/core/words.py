"""The contract of every model that takes words: how it is told its classes, its countable ones, and its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.things import ThingsLike, thing_flags
from denseclip.clip.vocabulary import Vocabulary, VocabularyError, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings


def letters_of(name: str) -> str:
    """Letters and digits of a class name: data sets write SignSymbol, sign_symbol or "sign symbol"."""
    return ''.join(character for character in name.casefold() if character.isalnum()) or name


def shuffled(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether both are the same names, however they are written, in another order."""
    ours, theirs = list(map(letters_of, names)), list(map(letters_of, others))
    return ours != theirs and sorted(ours) == sorted(theirs)


class TakesWords:
    """Mix-in of models that tell apart what words name.

    Whatever its family, such a model answers :attr:`vocabulary`, :meth:`set_vocabulary`, :meth:`set_class_embeddings`
    and :meth:`set_task`; names and palette in ``dataset_meta`` follow. What a family does differently stands in
    :meth:`accept_vocabulary`, :meth:`label_names` and :meth:`words_changed`. A refusal leaves everything as it was.

    Attributes:
        text: Class embeddings.
        is_thing: Which labels are countable, bool (K,) on the CPU; a background with words of its own is not.
    """

    text: ClassEmbeddings
    dataset_meta: Any
    is_thing: Tensor = torch.zeros(0, dtype=torch.bool, device='cpu')
    _things_asked_for: ThingsLike | None = None
    compares_pairs = False
    """Whether the model heeds :attr:`Vocabulary.differences`."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that the model tells apart outside of training.

        Raises:
            ValueError: If it has not been told any.
        """
        if self.text.in_use is None:
            raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
        return self.text.in_use

    @property
    def train_vocabulary(self) -> Vocabulary | None:
        """The classes of the training, where they are others."""
        return self.text.train_vocabulary

    def set_vocabulary(self, vocabulary: VocabularyLike, things: ThingsLike | None = None) -> None:
        """Let the model tell other classes apart. Text is encoded at the next picture.

        Args:
            vocabulary: Anything that ``Vocabulary.of`` accepts.
            things: Which of them are countable, see ``denseclip.clip.things``; None keeps what was said before, unless
                that named classes which are not among them: then their words decide.

        Raises:
            ValueError: If the model cannot do what the vocabulary asks, or ``things`` are named that are no classes.
        """
        self._take(self.accept_vocabulary(Vocabulary.of(vocabulary)), None, things)

    def set_class_embeddings(
        self, embeddings: Tensor, vocabulary: VocabularyLike, things: ThingsLike | None = None
    ) -> None:
        """Use class embeddings made elsewhere.

        Args:
            embeddings: One row per class, (K, E), or per name, (P, E); see :meth:`ClassEmbeddings.set_embeddings`.
            vocabulary: What the rows stand for.
            things: See :meth:`set_vocabulary`.

        Raises:
            ValueError: See :meth:`set_vocabulary`; or if the number of rows fits neither classes nor names.
        """
        self._take(self.accept_vocabulary(Vocabulary.of(vocabulary)), embeddings, things)

    def set_task(self, task: str | Sequence[str]) -> None:
        """Give other results from now on.

        Raises:
            ValueError: If the model cannot give them.
        """
        if task not in ('semantic', ('semantic',), ['semantic']):
            raise ValueError(f'{type(self).__name__} gives semantic results only, not {task!r}.')

    # --- what families do differently ---------------------------------------------------------------------------

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary as this model understands it.

        Raises:
            ValueError: If it asks for something that the model cannot do.
        """
        return vocabulary

    def label_names(self) -> tuple[str, ...]:
        """A name per label, that of a background without words included."""
        return self.text.names

    def words_changed(self) -> None:
        """Follow the new words, where something depends on the number of classes.

        Raises:
            ValueError: If that cannot be; the former words stay then.
        """

    # ------------------------------------------------------------------------------------------------------------

    def _take(self, vocabulary: Vocabulary, embeddings: Tensor | None, things: ThingsLike | None) -> None:
        if vocabulary.differences and not self.compares_pairs:
            raise ValueError(
                f'{type(self).__name__} compares no pairs of classes: leave the sentences for pairs out, or take a '
                'model that classifies masks (--method ovseg, fcclip or maft).'
            )
        flags = self._thing_flags(vocabulary) if things is None else thing_flags(vocabulary, things)
        self.use_words(vocabulary, embeddings)
        self.is_thing = torch.as_tensor(flags, dtype=torch.bool, device='cpu')
        self._things_asked_for = self._things_asked_for if things is None else things
        self.show_names(self.label_names())

    def use_words(self, vocabulary: Vocabulary, embeddings: Tensor | None) -> None:
        """Tell apart the classes of an accepted vocabulary."""
        before = self.text.words_in_use
        try:
            if embeddings is None:
                self.text.set_vocabulary(vocabulary)
            else:
                self.text.set_embeddings(embeddings, vocabulary)
            self.words_changed()
        except ValueError:
            self.text.words_in_use = before
            raise

    def _thing_flags(self, vocabulary: Vocabulary) -> tuple[bool, ...]:
        """Which classes are countable by what was said before, which may have been about other classes."""
        try:
            return thing_flags(vocabulary, self._things_asked_for)
        except VocabularyError:
            return thing_flags(vocabulary)

    def show_names(self, names: tuple[str, ...]) -> None:
        """Put the names, and the palette while it fits, where results are drawn and measured from."""
        palette = (getattr(self, 'dataset_meta', None) or {}).get('palette')
        keep = palette is not None and len(palette) == len(names)
        self.dataset_meta = {'classes': names, **({'palette': palette} if keep else {})}
