"""Words of a model that looks for each phrase by itself: sequences of token features, no embedding in a joint space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.class_embeddings import Words
from denseclip.core.precision import autocast_dtype
from denseclip.models.sam3_concepts import PhraseFeatures, SAM3Concepts


class ConceptText(nn.Module):
    """The vocabulary of :class:`SAM3Segmentor`, told as :class:`ClassEmbeddings` is; encoded once, and kept.

    Attributes:
        words_in_use: The present words.
    """

    train_vocabulary = None

    def __init__(self) -> None:
        super().__init__()
        self.words_in_use = Words()

    @property
    def in_use(self) -> Vocabulary | None:
        """The present vocabulary."""
        return self.words_in_use.vocabulary

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The same: there are no words of a training."""
        return self.in_use

    def _known(self) -> Vocabulary:
        if self.in_use is None:
            raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
        return self.in_use

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; with background prompts, ``'background'`` comes last."""
        known = self._known()
        return known.names + (('background',) if known.background_names else ())

    def class_index(self, device: torch.device) -> Tensor:
        """Class of each phrase, (P,)."""
        return self._known().class_index.to(device)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Use another vocabulary; its phrases are encoded at the next call."""
        self.words_in_use = Words(vocabulary)

    def set_embeddings(self, embeddings: Tensor, vocabulary: Vocabulary) -> None:
        """Refused.

        Raises:
            ValueError: Always.
        """
        del embeddings, vocabulary
        raise ValueError(
            'SAM 3 reads phrases token by token and takes no ready embeddings of classes: give words (set_vocabulary).'
        )

    def clear(self) -> None:
        """Forget encoded phrases."""
        self.words_in_use.cache = None

    def features(self, concepts: SAM3Concepts) -> PhraseFeatures:
        """Features of all phrases, encoded again only if the words, the weights, their place or autocast changed."""
        weights = list(concepts.model.text_encoder.parameters())
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in weights)
        key = (versions, weights[0].device, weights[0].dtype, autocast_dtype(weights[0].device.type))
        words: Any = self.words_in_use
        if words.cache is None or words.cache[0] != key:
            with torch.inference_mode(False):
                words.cache = (key, concepts.encode(self._known().prompts))
        return words.cache[1]
