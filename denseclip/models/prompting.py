"""The text side of DenseCLIP, shared by its segmentor and its detectors (Rao et al., CVPR 2022, sections 3.2-3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.lazy_weights import warn_of_other_normalization
from denseclip.core.words import TakesWords, shuffled
from denseclip.models.builder import build_module
from denseclip.models.folded import Folding
from denseclip.models.functional.matching import expected_text_map, pixel_text_score_map, visual_context
from denseclip.models.text_encoders.base import TextContextEncoder
from denseclip.models.text_encoders.class_text import ClassText

PROMPTING = ('post', 'pre', 'none')
SCORE_FUSION = ('concat', 'expectation', 'none')

Spec = Mapping[str, Any] | nn.Module
"""A module, or the config that it is built from."""


@dataclass
class PixelTextMatch:
    """What the backbone and the text branch say about a batch.

    Attributes:
        levels: Backbone stages, the score map already fused into one of them.
        score_map: Cosine of pixels and class texts, (N, K, h, w).
        text: Class embeddings after prompting, (N or 1, K, E).
        raw_text: Class embeddings from the text encoder, (N or 1, K, E).
    """

    levels: list[Tensor]
    score_map: Tensor
    text: Tensor
    raw_text: Tensor


@dataclass(frozen=True)
class PromptingOptions:
    """How texts are made and where their scores go; names and defaults as in ``DenseCLIP``.

    Attributes:
        prompting: ``'post'``, ``'pre'`` or ``'none'``.
        num_contexts: Learnable context tokens N2; 0 leaves them out.
        context_length: Most tokens per prompt, start and end included (N1); None is the text encoder's limit.
        tau: Temperature, above 0.
        score_concat_index: Backbone level that receives the scores.
        score_fusion: ``'concat'``, ``'expectation'`` or ``'none'``.
        templates: Prompt templates; None uses the names as they are.
        synonym_sampling: In training use one random name per class and step.
    """

    prompting: str = 'post'
    num_contexts: int = 8
    context_length: int | None = 5
    tau: float = 0.07
    score_concat_index: int = 3
    score_fusion: str = 'concat'
    templates: str | Sequence[str] | None = None
    synonym_sampling: bool = False

    def __post_init__(self) -> None:
        check_choice('prompting', self.prompting, PROMPTING)
        check_choice('score_fusion', self.score_fusion, SCORE_FUSION)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is none of ``choices``."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, got {value!r}.')


class TextPrompting(TakesWords):
    """Mix-in for models with a ``backbone`` whose output ends in ``(pooled (N, E), dense (N, E, h, w))``.

    A model calls :meth:`_init_text` once its backbone, neck and heads exist, and gets :meth:`match`. State-dict names:
    ``contexts``, ``gamma``, ``text_encoder.*``, ``context_decoder.*``, as in the authors' checkpoints.

    Attributes:
        scores_over_tau: Concatenate the scores divided by ``tau`` (detection) instead of the raw cosines
            (segmentation).
    """

    scores_over_tau = False

    backbone: Any
    neck: Any
    data_preprocessor: Any
    context_decoder: Any
    gamma: Tensor
    text_encoder: TextContextEncoder
    class_text: ClassText
    contexts: nn.Parameter | None

    # --- construction -------------------------------------------------------------------------------------------

    def _init_text(
        self,
        text_encoder: Spec,
        context_decoder: Spec | None,
        vocabulary: VocabularyLike,
        options: PromptingOptions,
    ) -> None:
        """Make the text branch, read the vocabulary, and check that all sizes and the normalisation fit."""
        self.prompting, self.tau = options.prompting, options.tau
        self.score_concat_index, self.score_fusion = options.score_concat_index, options.score_fusion
        self.text_encoder = build_module(text_encoder)
        self.class_text = ClassText(options.templates, options.context_length, options.synonym_sampling)
        self._init_prompting(None if context_decoder is None else build_module(context_decoder), options.num_contexts)
        words = Vocabulary.of(vocabulary)
        self._trained_names = words.names
        self._take(self._with_known_background(words), None, None)
        self._check_sizes()
        warn_of_other_normalization(self, getattr(self.backbone, 'preprocess', None), type(self.backbone).__name__)
        neck = getattr(self, 'neck', None)
        self._neck_folding = None if neck is None else Folding(neck)

    def _init_prompting(self, context_decoder: Any, num_contexts: int) -> None:
        """Make contexts and gamma, and check that the context decoder's sizes fit the text encoder."""
        self.contexts = None
        if num_contexts:
            self.contexts = nn.Parameter(torch.empty(1, num_contexts, self.text_encoder.width))
            nn.init.trunc_normal_(self.contexts)  # mean 0, std 1, cut at +-2
        self.context_decoder = context_decoder
        if (self.prompting == 'none') != (context_decoder is None):
            wants = 'no' if self.prompting == 'none' else 'a'
            raise ValueError(f'prompting="{self.prompting}" needs {wants} context_decoder, got {context_decoder!r}.')
        if self.prompting == 'post':
            self.gamma = nn.Parameter(torch.full((self.text_encoder.embed_dim,), 1e-4))
        if self.prompting == 'pre':
            width = self.text_encoder.width
            if not num_contexts:
                raise ValueError('pre-model prompting needs num_contexts >= 1: the contexts are its queries.')
            if (context_decoder.query_dim, context_decoder.out_dim) != (width, width):
                raise ValueError(
                    f'pre-model prompting makes text contexts of width {width}, but the context decoder takes queries '
                    f'of {context_decoder.query_dim} and gives {context_decoder.out_dim}: set its query_dim and '
                    f'out_dim to {width}.'
                )

    def _check_sizes(self) -> None:
        """Refuse level widths that cannot work, with the number that would."""
        channels = getattr(self.backbone, 'out_channels', None)
        wanted = getattr(getattr(self, 'neck', None), 'in_channels', None)
        if channels is None or wanted is None or not isinstance(wanted, Sequence):
            return
        count, dim = self.class_text.num_classes, self.text_encoder.embed_dim
        extra = {'concat': count, 'expectation': dim, 'none': 0}[self.score_fusion]
        expected = list(channels)
        expected[self.score_concat_index] += extra
        if list(wanted) != expected:
            raise ValueError(
                f'neck.in_channels is {list(wanted)}, but backbone and score_fusion="{self.score_fusion}" give '
                f'{expected} (level {self.score_concat_index} has {extra} score channels).'
            )

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that the model tells apart."""
        assert self.class_text.vocabulary is not None
        return self.class_text.vocabulary

    @property
    def closed_set(self) -> bool:
        """Whether the number of classes is built into the model's weights."""
        return True

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """Policies for pixels of no class that the model knows."""
        return ('none', 'prompts')

    def accept_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Refuse what a closed-set model cannot follow, and backgrounds it does not know.

        Its weights know classes by their places: other words may stand there, but not the same in another order.
        """
        self._with_known_background(vocabulary)
        count, built_for = len(vocabulary.groups), self.class_text.num_classes
        if self.closed_set and count != built_for:
            raise ValueError(self._closed_set_message(built_for, count))
        if self.closed_set and shuffled(vocabulary.names, self._trained_names):
            raise ValueError(
                'this model knows its classes by their places, and these are the same classes in another order: give '
                f'them as {"; ".join(self._trained_names)}.'
            )
        return vocabulary

    def _with_known_background(self, vocabulary: Vocabulary) -> Vocabulary:
        if vocabulary.background not in self.backgrounds:
            raise ValueError(
                f'this {type(self).__name__} has no background policy "{vocabulary.background}"; use '
                f'{", ".join(self.backgrounds)}.'
            )
        return vocabulary

    def use_words(self, vocabulary: Vocabulary, embeddings: Tensor | None) -> None:
        """Tokenize the vocabulary; its embeddings are made with the learnt contexts.

        Raises:
            ValueError: If embeddings are given.
        """
        if embeddings is not None:
            raise ValueError(
                f'{type(self).__name__} makes class embeddings with contexts of its own: give words, not embeddings.'
            )
        num_contexts = 0 if self.contexts is None else self.contexts.shape[1]
        self.class_text.set_vocabulary(vocabulary, self.text_encoder, num_contexts)
        self.words_changed()

    def label_names(self) -> tuple[str, ...]:
        """Class names, and the background where it has a label."""
        return self.vocabulary.names + (() if self.vocabulary.background == 'none' else ('background',))

    def _closed_set_message(self, built_for: int, count: int) -> str:
        return (
            f'this {type(self).__name__} is built for {built_for} classes, the vocabulary has {count}: give '
            f'{built_for} classes, or build and train a model for {count}.'
        )

    # --- forward ------------------------------------------------------------------------------------------------

    def prompt_text(self, pooled: Tensor, dense: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Class embeddings for a batch of images.

        Args:
            pooled: pooled image embedding, (N, E).
            dense: dense image embedding, (N, E, h, w).
            given: what the text encoder would say, (1, K, E); None asks it. Not with pre-model prompting.

        Returns:
            Embeddings after prompting, (N or 1, K, E), and those of the text encoder, (N or 1, K, E).
        """
        if self.prompting == 'none':
            raw = self.class_text(self.text_encoder, self.contexts) if given is None else given
            return raw, raw
        context = visual_context(pooled, dense)
        if self.prompting == 'pre':
            assert self.contexts is not None
            contexts = self.context_decoder(self.contexts.expand(pooled.shape[0], -1, -1), context)
            raw = self.class_text(self.text_encoder, contexts, shared=False)
            return raw, raw
        raw = self.class_text(self.text_encoder, self.contexts) if given is None else given
        text = raw.expand(pooled.shape[0], -1, -1)
        return text + self.gamma * self.context_decoder(text, context), raw

    def match(self, inputs: Tensor, given: Tensor | None = None) -> PixelTextMatch:
        """Run backbone and text branch, match pixels with texts, and fuse the scores into one level.

        Args:
            inputs: images, (N, 3, H, W).
            given: class embeddings, see :meth:`prompt_text`.
        """
        *levels, (pooled, dense) = self.backbone(inputs)
        text, raw = self.prompt_text(pooled, dense, given)
        scores = pixel_text_score_map(dense, text)
        if self.score_fusion != 'none':
            level = levels[self.score_concat_index]
            levels[self.score_concat_index] = torch.cat([level, self._fused(scores, text)], dim=1)
        return PixelTextMatch(levels, scores, text, raw)

    def pyramid(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """What the neck makes of backbone levels (N, C_i, h_i, w_i); they themselves where there is none."""
        if self._neck_folding is None:
            return list(levels)
        return list(self._neck_folding.of(self.neck, levels[0])(levels))

    def _fused(self, scores: Tensor, text: Tensor) -> Tensor:
        """What joins the backbone level: K score channels, or E channels of expected text."""
        if self.score_fusion == 'expectation':
            return expected_text_map(scores, text, self.tau)
        return scores / self.tau if self.scores_over_tau else scores
