"""State prompts as embeddings, made once per object."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.anomaly_prompts import StatePrompts
from denseclip.clip.text import TextTower
from denseclip.clip.text_bank import TextBank

_IN_MEMORY = 64


@dataclass(frozen=True)
class StateText:
    """What an object's two states look like to a CLIP.

    Attributes:
        states: One unit vector per state, normal first, (2, E).
        prompts: One unit vector per prompt, the normal ones first, (P, E).
    """

    states: Tensor
    prompts: Tensor

    @classmethod
    def of(cls, embeddings: Tensor, num_normal: int, unit_length_before_mean: bool = False) -> StateText:
        """Average embeddings of prompts.

        Args:
            embeddings: Of all prompts as they come from the tower, the normal ones first, (P, E).
            num_normal: How many are normal.
            unit_length_before_mean: Normalise each before the mean (APRIL-GAN); AnoVL and WinCLIP average first.
        """
        unit = F.normalize(embeddings, dim=-1)
        parts = (unit if unit_length_before_mean else embeddings).tensor_split([num_normal])
        return cls(F.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=-1), unit)

    def to(self, *args: Any, **kwargs: Any) -> StateText:
        """Copy on another device or of another dtype, as ``Tensor.to`` says."""
        return StateText(self.states.to(*args, **kwargs), self.prompts.to(*args, **kwargs))


class StateTextEncoder:
    """Embeds state prompts and remembers the results until the tower's weights change.

    Args:
        cache_dir: Folder of safetensors files by hash of weights and prompts; None keeps results in memory only.
    """

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = cache_dir
        self._memory: OrderedDict[Any, StateText] = OrderedDict()

    @torch.no_grad()
    def __call__(self, tower: TextTower, prompts: StatePrompts) -> StateText:
        """Embeddings of an object's prompts, on the tower's device."""
        parameters = list(tower.parameters())
        key = (prompts, *((id(p), 0 if p.is_inference() else p._version) for p in parameters), parameters[0].device)
        if key not in self._memory:
            with torch.inference_mode(False):  # such tensors could not take part in a backward pass
                embeddings = self._encode(tower, (*prompts.normal, *prompts.abnormal))
                self._memory[key] = StateText.of(embeddings, len(prompts.normal), prompts.unit_length_before_mean)
            while len(self._memory) > _IN_MEMORY:
                self._memory.popitem(last=False)
        self._memory.move_to_end(key)
        return self._memory[key]

    def clear(self) -> None:
        """Forget what is in memory."""
        self._memory.clear()

    def _encode(self, tower: TextTower, sentences: tuple[str, ...]) -> Tensor:
        if self.cache_dir is None:
            return tower.encode(sentences)
        return _RawTextBank(tower, cache_dir=self.cache_dir).raw(sentences)


class _RawTextBank(TextBank):
    """The text cache for single sentences, their embeddings as they come from the tower."""

    def raw(self, sentences: tuple[str, ...]) -> Tensor:
        """One row per sentence, not normalised."""
        return self._name_embeddings(sentences)

    def key(self, prompts: Iterable[str]) -> str:
        return hashlib.sha256(f'raw {super().key(prompts)}'.encode()).hexdigest()

    def _run_tower(self, prompts: tuple[str, ...]) -> Tensor:
        return self.tower.encode(prompts, self.batch_size)
