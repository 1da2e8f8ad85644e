"""LLM2CLIP's adaptor: states of a language model into the space of an image tower.

Source: Huang et al., "LLM2CLIP: Powerful Language Model Unlocks Richer Visual Representation", 2024; the parts are
those of its code (``TextProj``). The language model itself (LLM2Vec on Llama) is not part of the suite: its states come
from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.weights import WeightMismatchError, load_into, read_checkpoint, strip_prefix

_PREFIXES = ('text_adaptor.', 'text.text_adaptor.', 'adaptor.', '')


class _Block(nn.Module):
    """Residual: two linear layers behind a norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fn = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width))
        self.ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to (N, D)."""
        return x + self.fn(self.ln(x))


class LLMAdaptor(nn.Sequential):
    """Residual blocks, a norm, and a projection; state-dict names are those of the authors' ``text_adaptor``.

    Args:
        width: Size of a state of the language model.
        embed_dim: Size of the joint space.
        hidden: Width inside a block.
        blocks: Number of blocks.
        bias: Whether the projection has one.
    """

    def __init__(self, width: int, embed_dim: int, hidden: int, blocks: int = 4, bias: bool = True) -> None:
        layers = [_Block(width, hidden) for _ in range(blocks)]
        super().__init__(*layers, nn.LayerNorm(width), nn.Linear(width, embed_dim, bias=bias))

    def forward(self, states: Tensor) -> Tensor:
        """Unit-length embeddings.

        Shape:
            - states: :math:`(P, D)`; result: :math:`(P, E)`
        """
        return F.normalize(super().forward(states), dim=-1)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], source: str | Path) -> LLMAdaptor:
        """An adaptor with the sizes and numbers of a state dict, which may hold a whole LLM2CLIP.

        Raises:
            WeightMismatchError: If there is no adaptor in it.
        """
        for prefix in _PREFIXES:
            own = strip_prefix(state, prefix)
            first = own.get('0.fn.0.weight')
            if first is not None:
                own = {k: v for k, v in own.items() if k.split('.')[0].isdigit()}
                blocks = len({k.split('.')[0] for k in own if '.fn.' in k})
                last = f'{blocks + 1}.'
                if f'{last}weight' in own:
                    width, embed_dim = first.shape[1], own[f'{last}weight'].shape[0]
                    adaptor = cls(width, embed_dim, first.shape[0], blocks, f'{last}bias' in own)
                    load_into(adaptor, own, source=source)
                    return adaptor.eval().requires_grad_(False)
        raise WeightMismatchError(f"'{source}' holds no adaptor of LLM2CLIP (text_adaptor.0.fn.0.weight ...).")


def read_adaptor(path: str | Path, *, trust: bool = False) -> LLMAdaptor:
    """The adaptor in a weight file; see :func:`denseclip.weights.read_checkpoint`."""
    return LLMAdaptor.of_state(read_checkpoint(path, trust=trust).state_dict, path)
