"""Text tokens of prompts: a table of all prompts, and what each image of a batch is given of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class PromptTokens:
    """Text tokens for a batch of images.

    Attributes:
        tokens: (N, T, E), in CLIP's joint space; any length, the guide normalises them.
        absent: bool (N, T), True where there is no token; what ``tokens`` holds there has no effect.
        present: bool (N, T), True at tokens of classes that are in the image; None where that is not known.
    """

    tokens: Tensor
    absent: Tensor
    present: Tensor | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or self.absent.shape != self.tokens.shape[:2] or self.absent.dtype != torch.bool:
            raise ValueError(
                f'tokens must be (N, T, E) and absent bool (N, T); got {tuple(self.tokens.shape)} and '
                f'{self.absent.dtype} {tuple(self.absent.shape)}.'
            )

    def __len__(self) -> int:
        """Number of images."""
        return self.tokens.shape[0]

    @classmethod
    def cat(cls, parts: list[PromptTokens]) -> PromptTokens:
        """Prompts of several batches as one batch; shorter ones are padded with absent tokens, ``present`` is lost."""
        longest = max(part.tokens.shape[1] for part in parts)
        padded = [part.padded(longest) for part in parts]
        return cls(torch.cat([p.tokens for p in padded]), torch.cat([p.absent for p in padded]))

    def padded(self, length: int) -> PromptTokens:
        """The same prompts with absent tokens up to ``length``, ``present`` is lost."""
        missing = length - self.tokens.shape[1]
        if missing <= 0:
            return self
        tokens = torch.nn.functional.pad(self.tokens, (0, 0, 0, missing))
        return PromptTokens(tokens, torch.nn.functional.pad(self.absent, (0, missing), value=True))


@dataclass(frozen=True)
class PromptTable:
    """Tokens of a list of prompts, encoded once.

    Attributes:
        tokens: (P, L, E): L tokens per prompt; one for category embeddings, the longest prompt's for words.
        absent: bool (P, L), True behind the end of a shorter prompt.
        class_index: Class that each prompt names, LongTensor (P,), ascending; every class has at least one.
        num_classes: Number of classes K.
    """

    tokens: Tensor
    absent: Tensor
    class_index: Tensor
    num_classes: int

    def __len__(self) -> int:
        """Number of prompts."""
        return self.tokens.shape[0]

    def select(self, index: Tensor, absent: Tensor, present: Tensor | None = None) -> PromptTokens:
        """Prompts of each image.

        Args:
            index: Places in the table, LongTensor (N, M).
            absent: bool (N, M), True where an image has fewer than M prompts.
            present: bool (N, M), True for prompts of classes that are in the image.

        Returns:
            Tokens (N, M·L, E), the tokens of one prompt next to each other.
        """
        gone = self.absent[index] | absent[..., None]
        there = None if present is None else (present[..., None] & ~gone).flatten(1, 2)
        return PromptTokens(self.tokens[index].flatten(1, 2), gone.flatten(1, 2), there)

    def for_batch(self, batch: int) -> PromptTokens:
        """All prompts for every image of a batch."""
        tokens, absent = self.tokens.flatten(0, 1), self.absent.flatten()
        return PromptTokens(tokens.expand(batch, -1, -1), absent.expand(batch, -1))

    def per_class(self) -> PromptTable:
        """One prompt per class: the mean of its unit-length category embeddings, made unit-length again.

        Raises:
            ValueError: If prompts have more than one token: words cannot be averaged.
        """
        if self.tokens.shape[1] != 1:
            raise ValueError('only prompts of one token each can be averaged to one per class.')
        rows = torch.nn.functional.normalize(self.tokens[:, 0], dim=-1)
        sums = rows.new_zeros(self.num_classes, rows.shape[1]).index_add_(0, self.class_index, rows)
        means = torch.nn.functional.normalize(sums, dim=-1)[:, None]
        index = torch.arange(self.num_classes, device=rows.device)
        return PromptTable(means, self.absent.new_zeros(self.num_classes, 1), index, self.num_classes)

    def chunk(self, start: int, stop: int) -> PromptTable:
        """The prompts of classes ``start`` up to ``stop``, renumbered from 0."""
        mine = (self.class_index >= start) & (self.class_index < stop)
        return replace(
            self,
            tokens=self.tokens[mine],
            absent=self.absent[mine],
            class_index=self.class_index[mine] - start,
            num_classes=min(stop, self.num_classes) - start,
        )
