"""A text tower whose embeddings are mapped into the space of another image encoder (Talk2DINO)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import TextTower

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {'tanh': torch.tanh, 'relu': F.relu, 'sigmoid': torch.sigmoid}


class TextMapping(nn.Module):
    """Linear layers with an activation between them; ``widths`` are their sizes.

    Args:
        widths: Sizes from the text embedding to the wanted space; two or more.
        activation: ``'tanh'`` (the released weights), ``'relu'`` or ``'sigmoid'``.

    Raises:
        ValueError: If the activation is unknown or there is no layer.

    Source: Barsellotti et al., "Talking to DINO", ICCV 2025.
    """

    def __init__(self, widths: Sequence[int], activation: str = 'tanh') -> None:
        super().__init__()
        if activation not in ACTIVATIONS or len(widths) < 2:
            raise ValueError(
                f'a text mapping needs two widths or more and one of {", ".join(ACTIVATIONS)}, not {list(widths)} and '
                f"'{activation}'."
            )
        self.activation, self.widths = activation, tuple(widths)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map embeddings, (..., C) to (..., E)."""
        act = ACTIVATIONS[self.activation]
        for place, layer in enumerate(self.layers):
            x = layer(act(x) if place else x)
        return x

    @staticmethod
    def widths_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Widths of a mapping with these tensors (``layers.0.weight`` ...)."""
        weights = [state[f'layers.{n}.weight'] for n in range(sum(k.endswith('.weight') for k in state))]
        return (weights[0].shape[1], *(w.shape[0] for w in weights))


class MappedText(nn.Module):
    """A text module of open_clip and a mapping behind it, in the place of open_clip's own.

    Args:
        tower: The text module.
        mapping: What its embeddings go through.
    """

    def __init__(self, tower: nn.Module, mapping: TextMapping) -> None:
        super().__init__()
        self.tower, self.mapping = tower, mapping

    def forward(self, text: Tensor) -> Tensor:
        """Embeddings (P, E) of token ids (P, L)."""
        return self.mapping(self.tower(text))


class MappedTextTower(TextTower):
    """A text tower with a mapping behind it; the mean over sentences is taken before the mapping, as in training.

    Args:
        tower: Makes the embeddings that are mapped.
        mapping: Shared, not copied.
    """

    def __init__(self, tower: TextTower, mapping: TextMapping) -> None:
        super().__init__(tower.tokenizer)
        self.tower, self.mapping = tower, mapping
        self.crops = tower.crops
        self.width, self.context_length = tower.width, tower.context_length
        self.embed_dim = mapping.widths[-1]

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """See :meth:`TextTower.encode_tokens`."""
        return self.mapping(self.tower.encode_tokens(tokens, contexts))

    def encode_sets(self, sentences: Sequence[str], sets: int, batch_size: int = 256) -> Tensor:
        """See :meth:`TextTower.encode_sets`; embeddings are averaged as they are, then mapped."""
        means = self.tower.encode(sentences, batch_size).unflatten(0, (sets, -1)).mean(dim=1)
        with torch.no_grad():
            return F.normalize(self.mapping(means), dim=-1)

    def extra_repr(self) -> str:
        """Activation, for printing and for :meth:`fingerprint`."""
        return f'activation={self.mapping.activation}'


def mapping_of(settings: Mapping[str, Any]) -> TextMapping:
    """A fresh mapping from a model's configuration (``widths``, ``activation``)."""
    return TextMapping(tuple(int(w) for w in settings['widths']), str(settings.get('activation', 'tanh')))
