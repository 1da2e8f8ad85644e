"""Prompt-guided mask proposals for any mask segmentor of the suite (PMP, Li et al., arXiv 2412.10292)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.models.builder import build_module
from denseclip.models.heads.pmp import PromptGuide, PromptSampler, PromptTable, PromptTokens, TokenGuide
from denseclip.models.heads.pmp.encoders import TOKENS, WordEncoder, category_table
from denseclip.models.heads.pmp.inference import INFERENCE, best_of_each, unite
from denseclip.models.prompting import check_choice
from denseclip.structures.mask_proposals import MaskProposals

Run = Callable[[TokenGuide | None], MaskProposals]
"""Runs the host's mask decoder with a guide."""


@dataclass
class PromptSettings:
    """What prompts are made of, and which are shown when.

    Attributes:
        tokens: ``'category'``: one token per prompt, the embedding that also classifies. ``'word'``: all word pieces.
        sampler: Prompts in training, settings of :class:`PromptSampler`.
        inference: ``'all'``: all prompts in one forward. ``'chunk'``: the prompts of ``chunk`` classes at a time, the
            proposals of all runs together. ``'per_prompt'``: a run for each class, its best mask is kept.
        chunk: Classes per run of ``'chunk'``.
        attention_loss: Weight of :meth:`TokenGuide.attention_loss`, which draws the queries to the prompts of what is
            in the picture; 0 leaves it out. (Whether the paper adds a loss is not known to us.)
    """

    tokens: str = 'category'
    sampler: Mapping[str, Any] | None = None
    inference: str = 'all'
    chunk: int = 100
    attention_loss: float = 0.0

    def __post_init__(self) -> None:
        check_choice('tokens', self.tokens, TOKENS)
        check_choice('inference', self.inference, INFERENCE)
        if self.chunk < 1:
            raise ValueError(f'chunk={self.chunk} must be at least one class.')


class PromptGuided:
    """Mix-in that goes before a mask segmentor of the suite, the host, and guides its mask decoder by text.

    The host classifies as before; only its queries look at the prompts. Its state dict is the host's and
    ``prompt_guide.*``; with a fresh guide the host's results come out bit for bit.

    Prompts are the model's classes, unless :meth:`set_prompts` names others, or a data sample does: ``prompts`` in its
    meta information, a list of phrases for this one picture, the empty list for none.

    Args:
        *args: As of the host.
        prompt_guide: Settings of :class:`PromptGuide`; its sizes are those of the host unless given.
        prompts: Settings of :class:`PromptSettings`.
        freeze_host: Train nothing but the guide; normalisations of the host keep their statistics.
        **kwargs: As of the host.
    """

    prompt_guide: PromptGuide
    text: ClassEmbeddings
    need_weights: Callable[[], None]
    training: bool

    def __init__(
        self,
        *args: Any,
        prompt_guide: Mapping[str, Any] | nn.Module | None = None,
        prompts: Mapping[str, Any] | None = None,
        freeze_host: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.freeze_host = freeze_host
        if freeze_host:
            self.requires_grad_(False)  # type: ignore[attr-defined]
        if not isinstance(prompt_guide, nn.Module):
            head: Any = self.decode_head  # type: ignore[attr-defined]
            sizes = {'dim': head.query_dim, 'num_layers': head.num_layers, 'num_heads': head.num_heads}
            sizes['text_dim'] = self.text.tower.embed_dim
            prompt_guide = {'type': 'PromptGuide', **sizes, **(prompt_guide or {})}
        self.prompt_guide = build_module(prompt_guide)
        self.prompt_settings = PromptSettings(**(prompts or {}))
        self.prompt_sampler = PromptSampler(**(self.prompt_settings.sampler or {}))
        self._words = WordEncoder()
        self._phrases: Vocabulary | None = None
        self._watched: TokenGuide | None = None

    def train(self, mode: bool = True) -> Any:
        """Set the mode; a frozen host keeps the statistics of its normalisations."""
        super().train(mode)  # type: ignore[misc]
        if self.freeze_host:
            for module in self.modules():  # type: ignore[attr-defined]
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    # --- prompts ------------------------------------------------------------------------------------------------

    def set_prompts(self, prompts: VocabularyLike | None = None) -> None:
        """Let the masks be guided by other words than the classes; in training the classes guide always.

        Args:
            prompts: Free phrases, in any form that ``Vocabulary.of`` takes; None goes back to the classes.
        """
        self._phrases = None if prompts is None else Vocabulary.of(prompts)

    def prompt_table(self, phrases: Vocabulary | None = None) -> PromptTable:
        """All prompts, encoded once.

        Args:
            phrases: What to encode; None is the model's classes.
        """
        self.need_weights()
        if self.prompt_settings.tokens == 'word':
            vocabulary = self.text.vocabulary if phrases is None else phrases
            if vocabulary is None:
                raise ValueError('this model has no vocabulary yet: call set_vocabulary(...).')
            return self._words(self.text.tower, vocabulary)
        if phrases is None:
            return category_table(self.text())
        with torch.inference_mode(False), torch.no_grad():
            return category_table(self.text.bank.encode(phrases))

    def inference_table(self) -> PromptTable:
        """What is shown at inference: one embedding per class, or all words of all names."""
        table = self.prompt_table(self._phrases)
        return table.per_class() if self.prompt_settings.tokens == 'category' else table

    def prompt_tokens(self, batch: int, samples: Sequence[Any] | None = None) -> PromptTokens:
        """Prompts of a batch of pictures.

        Args:
            batch: Number of pictures.
            samples: Their data samples; in training with ground truth.
        """
        own = [sample.metainfo.get('prompts') for sample in samples or ()]
        if any(phrases is not None for phrases in own):
            assert samples is not None
            return PromptTokens.cat(
                [
                    self.prompt_tokens(1, [sample]) if phrases is None else self._own_prompts(phrases)
                    for sample, phrases in zip(samples, own, strict=True)
                ]
            )
        if self.training and samples:
            table = self.prompt_table()
            return self.prompt_sampler(table, present_classes(samples, table.num_classes))
        return self.inference_table().for_batch(batch)

    def _own_prompts(self, phrases: Sequence[str]) -> PromptTokens:
        """Prompts of one picture that has its own."""
        if not phrases:
            table = self.inference_table()
            return PromptTokens(table.tokens[:0].flatten(0, 1)[None], table.absent[:0].flatten()[None])
        table = self.prompt_table(Vocabulary.from_names(phrases))
        return (table.per_class() if self.prompt_settings.tokens == 'category' else table).for_batch(1)

    def query_guide(self, batch: int, samples: Sequence[Any] | None = None) -> TokenGuide | None:
        """The guide that the host hands to its mask decoder."""
        watch = self.training and self.prompt_settings.attention_loss > 0
        guide = self.prompt_guide.bind(self.prompt_tokens(batch, samples), watch)
        self._watched = guide if guide is not None and guide.present is not None else None
        return guide

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of the host, and ``loss_prompt_attention`` where it has a weight.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: With ground truth, as the host needs it.
        """
        losses = super().loss(inputs, data_samples)  # type: ignore[misc]
        if self._watched is not None:
            losses['loss_prompt_attention'] = self.prompt_settings.attention_loss * self._watched.attention_loss()
            self._watched = None
        return losses

    # --- inference ----------------------------------------------------------------------------------------------

    def guided_proposals(self, run: Run, batch: int, samples: Sequence[Any] | None = None) -> MaskProposals:
        """Proposals as the settings want them made.

        Args:
            run: Runs the host's mask decoder.
            batch: Number of pictures.
            samples: Their data samples.
        """
        inference = self.prompt_settings.inference
        if inference == 'all' or any('prompts' in sample.metainfo for sample in samples or ()):
            return run(self.query_guide(batch, samples))
        table = self.inference_table()
        step = 1 if inference == 'per_prompt' else self.prompt_settings.chunk
        rows = self._category_rows() if inference == 'per_prompt' else table.tokens[:0, 0]
        parts, match = [], []
        for start in range(0, table.num_classes, step):
            chosen = table.chunk(start, start + step)
            parts.append(run(self.prompt_guide.bind(chosen.for_batch(batch))))
            if inference == 'per_prompt':
                match.append(self.prompt_match(parts[-1], start, rows))
        return best_of_each(parts, match) if match else unite(parts)

    def prompt_match(self, proposals: MaskProposals, prompt: int, rows: Tensor) -> Tensor:
        """How well proposals fit one of the prompts, (N, Q): the cosine of their class embeddings with its own.

        Args:
            proposals: With class embeddings.
            prompt: Position of the prompt.
            rows: Unit-length category embeddings of all prompts, (P, E).
        """
        assert proposals.class_embeddings is not None
        return F.normalize(proposals.class_embeddings, dim=-1) @ rows[prompt].to(proposals.class_embeddings)

    def _category_rows(self) -> Tensor:
        """One unit-length embedding per prompt, whatever the guide is shown, (P, E)."""
        self.need_weights()
        text = self.text() if self._phrases is None else self.text.bank.encode(self._phrases)
        return category_table(text).per_class().tokens[:, 0]


def present_classes(samples: Sequence[Any], num_classes: int) -> Tensor:
    """Classes in the ground truth of each picture.

    Args:
        samples: Data samples with ``gt_instances``, or with ``gt_sem_seg`` of one size.
        num_classes: Number of classes K; other labels, such as the ignored one, count as nothing.

    Returns:
        bool (N, K).
    """
    if 'gt_instances' in samples[0]:
        labels = [sample.gt_instances.labels.flatten() for sample in samples]
        flat = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-1)
    else:
        flat = torch.stack([sample.gt_sem_seg.data.flatten() for sample in samples])
    flat = flat.long()
    flat = torch.where((flat < 0) | (flat >= num_classes), num_classes, flat)
    present = torch.zeros(len(samples), num_classes + 1, dtype=torch.bool, device=flat.device)
    return present.scatter_(1, flat, True)[:, :num_classes]
