"""Embeddings of a vocabulary by a text tower that learns."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .templates import fill
from .text_bank import TextBank


class LearningTextBank(TextBank):
    """A :class:`TextBank` whose tower runs at every call, with gradients: what it says changes with every step."""

    def _name_embeddings(self, prompts: tuple[str, ...]) -> Tensor:
        sentences = [fill(template, name) for name in prompts for template in self.templates]
        tokens = self.tower.tokenize(sentences).to(next(self.tower.parameters()).device)
        rows = F.normalize(self.tower.encode_tokens(tokens)[0], dim=-1)
        return F.normalize(rows.unflatten(0, (len(prompts), -1)).mean(dim=1), dim=-1)
