"""Which prompts an image is shown in training."""

from __future__ import annotations

import torch
from torch import Tensor

from .tokens import PromptTable, PromptTokens

MODES = ('random', 'full', 'positive_only')
SYNONYMS = ('random', 'mean')


class PromptSampler:
    """Chooses prompts for the images of a training batch.

    Showing only the classes that are in the image would tell the model the answer, and at test time the whole
    vocabulary is shown. So classes that are absent are mixed in: each with probability r, r drawn per image from
    ``keep``. The order of prompts is shuffled.

    The paper's text on this could not be read: all of this is a choice of the suite.

    Args:
        mode: ``'random'`` as above; ``'full'``: always the whole vocabulary; ``'positive_only'``: only what is there,
            for referring-style data.
        keep: Least and greatest r.
        synonyms: ``'random'``: one name per class, drawn per image; ``'mean'``: the mean of a class's names.
    """

    def __init__(self, mode: str = 'random', keep: tuple[float, float] = (0.3, 1.0), synonyms: str = 'random') -> None:
        for name, value, known in (('mode', mode, MODES), ('synonyms', synonyms, SYNONYMS)):
            if value not in known:
                raise ValueError(f"{name}='{value}' is unknown; choose from {', '.join(known)}.")
        if not 0 <= keep[0] <= keep[1] <= 1:
            raise ValueError(f'keep={keep} must be two rising probabilities within 0..1.')
        self.mode, self.keep, self.synonyms = mode, (float(keep[0]), float(keep[1])), synonyms

    def shown(self, present: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Classes that each image is shown.

        Args:
            present: bool (N, K), classes in the image.
            generator: Source of chance on the CPU; None is PyTorch's own, which checkpoints save.

        Returns:
            bool (N, K), a superset of ``present``.
        """
        if self.mode == 'full':
            return torch.ones_like(present)
        if self.mode == 'positive_only':
            return present.clone()
        low, high = self.keep
        # Drawn on the CPU, so that a seed means the same on every device.
        share = torch.rand(present.shape[0], 1, generator=generator, device='cpu') * (high - low) + low
        kept = torch.rand(present.shape, generator=generator, device='cpu') < share
        return present | kept.to(present.device)

    def __call__(self, table: PromptTable, present: Tensor, generator: torch.Generator | None = None) -> PromptTokens:
        """Tokens that each image is shown, in random order.

        Args:
            table: Prompts of the training vocabulary.
            present: bool (N, K).
            generator: See :meth:`shown`.

        Returns:
            Tokens of K prompts per image. Prompts that are not shown stand at the end as absent ones: cutting them off
            would need their number, and a wait for the device.
        """
        if self.synonyms == 'mean' and len(table) != table.num_classes:
            table = table.per_class()
        shown = self.shown(present, generator)
        order = torch.rand(shown.shape, generator=generator, device='cpu').to(shown.device)
        classes = (order + 2.0 * ~shown).argsort(dim=1)
        prompt = self._names(table, shown.shape[0], generator).gather(1, classes)
        return table.select(prompt, ~shown.gather(1, classes), present.gather(1, classes))

    def _names(self, table: PromptTable, batch: int, generator: torch.Generator | None) -> Tensor:
        """One prompt per image and class: a random one of its names, (N, K)."""
        device = table.class_index.device
        count = torch.zeros(table.num_classes, dtype=torch.long, device=device)
        count = count.index_add_(0, table.class_index, torch.ones_like(table.class_index))
        first = count.cumsum(0) - count
        chance = torch.rand(batch, table.num_classes, generator=generator, device='cpu').to(device)
        return first + (chance * count).long().minimum(count - 1)
