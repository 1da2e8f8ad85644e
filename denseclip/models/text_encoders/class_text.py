"""Class names as a model sees them: prompts, their tokens, and class embeddings that are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.templates import resolve_templates
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.precision import autocast_dtype
from denseclip.models.functional.matching import merge_prompts

from .base import TextContextEncoder


class ClassText(nn.Module):
    """Prompts of a vocabulary and the class embeddings made from them.

    Embeddings that no gradient has to reach are kept until something that they depend on changes: the vocabulary, a
    parameter of the text encoder or the contexts (by version counter), device, dtype or autocast, the mode
    (``train()`` / ``eval()``), or a loaded state dict. It has no parameters and adds nothing to the state dict.

    Args:
        templates: name of a template set, a template with ``{}``, or a list of them; None leaves names as they are.
        context_length: most tokens that a prompt may have, start and end included; None is the text tower's limit.
        sampling: in training mode use one random prompt per class and step instead of the mean over its prompts.

    Attributes:
        vocabulary: The vocabulary, or None before :meth:`set_vocabulary`.
        caching: Set it to False to encode text at every call.
    """

    tokens: Tensor
    class_index: Tensor

    def __init__(
        self, templates: str | Sequence[str] | None = None, context_length: int | None = 5, sampling: bool = False
    ) -> None:
        super().__init__()
        self.templates = resolve_templates(templates) if templates is not None else ('{}',)
        self.context_length = context_length
        self.sampling = sampling
        self.caching = True
        self.vocabulary: Vocabulary | None = None
        self.num_classes = 0
        self._cache: tuple[Any, Tensor] | None = None
        self.register_buffer('tokens', torch.zeros(0, 0, dtype=torch.long), persistent=False)
        self.register_buffer('class_index', torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_load_state_dict_post_hook(_forget)

    def set_vocabulary(
        self, vocabulary: VocabularyLike, encoder: TextContextEncoder, num_contexts: int = 0
    ) -> Vocabulary:
        """Tokenize a vocabulary.

        Args:
            vocabulary: anything that ``Vocabulary.of`` accepts.
            encoder: the text encoder.
            num_contexts: positions of the text tower that contexts will take.

        Raises:
            PromptTooLongError: if a prompt has more than ``context_length`` tokens.
        """
        vocabulary = Vocabulary.of(vocabulary)
        prompts = [t.replace('{}', name) for name in vocabulary.prompts for t in self.templates]
        tokens = encoder.tokenize(prompts, self.context_length or encoder.context_length - num_contexts)
        index = vocabulary.class_index.repeat_interleave(len(self.templates))
        self.tokens = tokens.to(self.tokens.device)
        self.class_index = index.to(self.tokens.device)
        self.num_classes = len(vocabulary.groups)
        counts = torch.tensor([len(group) * len(self.templates) for group in vocabulary.groups], device='cpu')
        self._counts, self._starts = counts, counts.cumsum(0) - counts
        self.vocabulary = vocabulary
        self.clear()
        return vocabulary

    def clear(self) -> None:
        """Forget cached embeddings."""
        self._cache = None

    def train(self, mode: bool = True) -> ClassText:
        """Set the mode and forget cached embeddings."""
        self.clear()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> ClassText:
        self.clear()
        return super()._apply(fn, recurse)

    def forward(self, encoder: nn.Module, contexts: Tensor | None = None, shared: bool = True) -> Tensor:
        """Class embeddings, not normalised.

        Args:
            encoder: text encoder called as ``encoder(tokens, contexts)``.
            contexts: learnable or image-specific contexts, (B', N2, W), or None.
            shared: whether the contexts are parameters, the same for every image; only such text is cached.

        Returns:
            (B', K, E), B' = 1 without contexts.
        """
        rows = self._sample() if self.sampling and self.training else None
        if shared and self.caching and self._constant(encoder, contexts):
            embeddings = self._cached(encoder, contexts)
            if rows is not None:
                return embeddings[:, rows]
        else:
            embeddings = encoder(self.tokens if rows is None else self.tokens[rows], contexts)
            if rows is not None:
                return embeddings
        return merge_prompts(embeddings, self.class_index, self.num_classes)

    def _sample(self) -> Tensor:
        """Row of one random prompt per class, (K,); drawn on the CPU so that all devices draw alike."""
        drawn = (torch.rand(self.num_classes, device='cpu') * self._counts).long()
        return (self._starts + drawn.clamp(max=self._counts - 1)).to(self.tokens.device)

    @staticmethod
    def _constant(encoder: nn.Module, contexts: Tensor | None) -> bool:
        """Whether no gradient can be wanted with respect to anything that the text depends on."""
        if not torch.is_grad_enabled():
            return True
        learns_context = contexts is not None and contexts.requires_grad
        return not learns_context and not any(p.requires_grad for p in encoder.parameters())

    def _cached(self, encoder: nn.Module, contexts: Tensor | None) -> Tensor:
        key = self._key(encoder, contexts)
        if self._cache is None or self._cache[0] != key:
            # Tensors made under inference_mode could not take part in a later backward pass.
            with torch.inference_mode(False), torch.no_grad():
                self._cache = (key, encoder(self.tokens, contexts))
        return self._cache[1]

    def _key(self, encoder: nn.Module, contexts: Tensor | None) -> tuple[Any, ...]:
        sources = [*encoder.parameters(), *([] if contexts is None else [contexts])]
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in sources)
        place = (sources[0].device, sources[0].dtype) if sources else None
        return versions, place, autocast_dtype(self.tokens.device.type)


def _forget(module: ClassText, _: Any) -> None:
    module.clear()
