"""Takes prompts out of the pixel embeddings of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from denseclip.clip.text import TextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.open_vocab import unit_length
from denseclip.models.functional.prompt_removal import removal_matrix


class PromptRemoval:
    """See :func:`removal_matrix`; the covariance is that of a picture's own pixels, or of a window's.

    Args:
        tower: Encodes the prompts, without templates, once for each state of its weights.
        prompts: What is taken out; nothing by default.
    """

    def __init__(self, tower: TextTower, prompts: Sequence[str]) -> None:
        self._bank, self._prompts = TextBank(tower, '{}', 'max'), tuple(prompts)

    def __call__(self, dense: Tensor) -> Tensor:
        """Pixel embeddings (N, E, h, w) without the prompts."""
        if not self._prompts:
            return dense
        with torch.inference_mode(False), torch.no_grad():  # what the bank keeps may meet a backward pass later
            rows = self._bank.encode(Vocabulary.from_names(self._prompts)).embeddings.to(dense.device)
        pixels = unit_length(dense).flatten(2).transpose(1, 2)
        matrices = torch.stack([removal_matrix(rows, each) for each in pixels]).to(dense.dtype)
        return torch.einsum('nfe,nehw->nfhw', matrices, dense)
