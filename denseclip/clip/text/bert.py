"""BERT's encoder in plain torch, under the parameter names of Hugging Face's ``BertModel``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'gelu': F.gelu,
    'gelu_new': partial(F.gelu, approximate='tanh'),
    'gelu_pytorch_tanh': partial(F.gelu, approximate='tanh'),
    'relu': F.relu,
    'silu': F.silu,
}


@dataclass(frozen=True)
class BertSettings:
    """What ``config.json`` says, with the defaults of ``BertConfig``; dropout is left out."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = 'gelu'
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BertSettings:
        """Take what is known from a configuration.

        Raises:
            ValueError: If it describes another architecture.
        """
        for key, known in (('model_type', 'bert'), ('position_embedding_type', 'absolute')):
            if config.get(key, known) != known:
                raise ValueError(f"config.json has {key} '{config[key]}'; sentence encoders here are BERT ({known}).")
        settings = cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})
        if settings.hidden_act not in _ACTIVATIONS:
            raise ValueError(f"config.json has hidden_act '{settings.hidden_act}', not {', '.join(_ACTIVATIONS)}.")
        if settings.hidden_size % settings.num_attention_heads:
            raise ValueError(
                f'config.json has hidden_size {settings.hidden_size}, not a multiple of its '
                f'{settings.num_attention_heads} attention heads.'
            )
        return settings


class Bert(nn.Module):
    """Encoder without pooler and dropout.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.settings = settings
        self.embeddings = _Embeddings(settings)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(settings) for _ in range(settings.num_hidden_layers))
        self.apply(partial(_initialise, std=settings.initializer_range))

    def forward(self, words: Tensor, real: Tensor) -> Tensor:
        """Encode sequences.

        Args:
            words: Word vectors, (N, L, C).
            real: Which positions are no padding, bool (N, L).

        Returns:
            Last hidden state, (N, L, C).
        """
        hidden = self.embeddings(words)
        mask = real[:, None, None, :]
        layers: Any = self.encoder.layer
        for layer in layers:
            hidden = layer(hidden, mask)
        return hidden


class _Embeddings(nn.Module):
    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        width = settings.hidden_size
        self.word_embeddings = nn.Embedding(settings.vocab_size, width, padding_idx=settings.pad_token_id)
        self.position_embeddings = nn.Embedding(settings.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(settings.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=settings.layer_norm_eps)

    def forward(self, words: Tensor) -> Tensor:
        """Add positions and the first sentence's type, (N, L, C)."""
        typed = words + self.token_type_embeddings.weight[0]
        return self.LayerNorm(typed + self.position_embeddings.weight[: words.shape[1]])


class _Layer(nn.Module):
    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        width, inner, eps = settings.hidden_size, settings.intermediate_size, settings.layer_norm_eps
        self.heads = settings.num_attention_heads
        self.activation = _ACTIVATIONS[settings.hidden_act]
        projections = {name: nn.Linear(width, width) for name in ('query', 'key', 'value')}
        self.attention = nn.ModuleDict({'self': nn.ModuleDict(projections), 'output': _residual(width, width, eps)})
        self.intermediate = nn.ModuleDict({'dense': nn.Linear(width, inner)})
        self.output = _residual(inner, width, eps)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Attention and feed-forward, each with its residual and normalised after it, (N, L, C)."""
        inner: Any = self.attention['self']
        query, key, value = (inner[name](hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in inner)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        hidden = _add(self.attention['output'], attended, hidden)
        return _add(self.output, self.activation(self.intermediate['dense'](hidden)), hidden)


def _residual(width: int, out: int, eps: float) -> nn.ModuleDict:
    return nn.ModuleDict({'dense': nn.Linear(width, out), 'LayerNorm': nn.LayerNorm(out, eps=eps)})


def _add(output: Any, branch: Tensor, hidden: Tensor) -> Tensor:
    return output['LayerNorm'](output['dense'](branch) + hidden)


def _initialise(module: nn.Module, std: float) -> None:
    """As BERT is initialised."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
