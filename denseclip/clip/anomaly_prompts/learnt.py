"""A pair of learnt prompts, of a good picture and of a bad one, in place of written sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.text import TextTower
from denseclip.files.provenance import provenance
from denseclip.weights import WeightMismatchError, load_into, read_checkpoint, write_safetensors

FILE_NAME = 'anomaly_prompts.safetensors'
"""What a file with a pair is called where nobody names it."""
_STD = 0.02


class LearntPair(nn.Module):
    """Word vectors that stand before the object's name: ``[v1 ... vb] metal nut``, one row for each state.

    Args:
        width: Size of a word vector of the text tower.
        length: Number of vectors of a state.

    Raises:
        ValueError: If there is none.

    Source: Liang et al., "Iterative Prompt Learning for Unsupervised Backlit Image Enhancement" (CLIP-LIT), ICCV 2023,
    section 3.1, whose prompts of well lit and backlit pictures name no object; with a name behind them they go on to
    other objects.
    """

    def __init__(self, width: int, length: int = 8) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f'a learnt pair of prompts of length {length}: it must be 1 at least.')
        self.tokens = nn.Parameter(torch.randn(2, length, width) * _STD)

    @property
    def length(self) -> int:
        """Number of vectors of a state."""
        return self.tokens.shape[1]

    @property
    def width(self) -> int:
        """Size of a word vector."""
        return self.tokens.shape[2]

    def forward(self, tower: TextTower, name: str) -> Tensor:
        """Unit-length embeddings of an object's two states, normal first, (2, E).

        Args:
            tower: The text tower; it has vectors of the same width.
            name: The object in words.
        """
        rows = tower.tokenize([name], tower.context_length - self.length).to(self.tokens.device)
        return F.normalize(tower.encode_tokens(rows, self.tokens)[:, 0], dim=-1)

    def check(self, tower: Any) -> None:
        """Refuse a text tower that it does not fit.

        Raises:
            ValueError: Says what does not fit.
        """
        if self.width != tower.width or self.length + 3 > tower.context_length:
            raise ValueError(
                f'a learnt pair of {self.length} vectors of width {self.width} does not fit this text tower, which has '
                f'{tower.context_length} places of width {tower.width}: it was learnt with another CLIP.'
            )

    @classmethod
    def read(cls, path: str | Path) -> LearntPair:
        """The pair of a file.

        Raises:
            FileNotFoundError: If there is no such file.
            WeightMismatchError: If it holds something else.
        """
        state = read_checkpoint(path).state_dict
        tokens = state.get('tokens')
        if set(state) != {'tokens'} or tokens is None or tokens.ndim != 3 or len(tokens) != 2 or not tokens.shape[1]:
            raise WeightMismatchError(
                f"'{path}' holds no pair of learnt prompts (one tensor tokens, 2 x length x width)."
            )
        pair = cls(tokens.shape[2], tokens.shape[1])
        load_into(pair, state, source=path)
        return pair

    def write(self, path: str | Path) -> Path:
        """Write the pair as safetensors; returns the file."""
        return write_safetensors(self.state_dict(), Path(path), provenance())
