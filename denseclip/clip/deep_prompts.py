"""Learned tokens in the first blocks of both towers, those of the image tower made from those of the text tower.

Source: MaPLe (Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023), section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.files.provenance import provenance
from denseclip.weights import WeightMismatchError, load_into, read_checkpoint, write_safetensors

FILE_NAME = 'deep_prompts.safetensors'
"""File beside the weights of a CLIP that holds its prompts."""
_STD = 0.02


class CoupledPrompts(nn.Module):
    """Prompts of both towers, for their input and before each of the next ``depth - 1`` blocks.

    Text: they stand between the start token and the words. Pictures: they stand behind the patches, where a read-out of
    pixels leaves them out. In the blocks after those with prompts of their own the last ones go on as ordinary tokens.

    Args:
        text_width: Size of a token of the text tower.
        image_width: Size of a token of the image tower.
        length: Number of prompts of a block.
        depth: Number of blocks with prompts of their own, the input counted as the first.

    Raises:
        ValueError: If there is no prompt, or no block.
    """

    def __init__(self, text_width: int, image_width: int, length: int = 2, depth: int = 9) -> None:
        super().__init__()
        if length < 1 or depth < 1:
            raise ValueError(f'deep prompts of length {length} and depth {depth}: both must be 1 at least.')
        self.tokens = nn.ParameterList(nn.Parameter(torch.randn(length, text_width) * _STD) for _ in range(depth))
        self.couplings = nn.ModuleList(nn.Linear(text_width, image_width) for _ in range(depth))

    @property
    def length(self) -> int:
        """Number of prompts of a block."""
        return self.tokens[0].shape[0]

    @property
    def depth(self) -> int:
        """Number of blocks with prompts of their own."""
        return len(self.tokens)

    @property
    def text_width(self) -> int:
        """Size of a token of the text tower."""
        return self.tokens[0].shape[1]

    @property
    def image_width(self) -> int:
        """Size of a token of the image tower."""
        couple: Any = self.couplings[0]
        return couple.out_features

    def extra_repr(self) -> str:
        """Sizes, for printing and for the fingerprint of a text tower."""
        return f'length={self.length}, depth={self.depth}'

    def text(self) -> list[Tensor]:
        """Prompts of the text tower, one (b, W) tensor per block."""
        return list(self.tokens)

    def image(self) -> list[Tensor]:
        """Prompts of the image tower, one (b, C) tensor per block."""
        return [couple(tokens) for couple, tokens in zip(self.couplings, self.tokens, strict=True)]

    def check(self, blocks: int, width: int, image: bool) -> None:
        """Refuse a tower that they do not fit.

        Args:
            blocks: How many it has.
            width: Size of its tokens.
            image: Which tower it is.

        Raises:
            ValueError: Says what does not fit.
        """
        mine = self.image_width if image else self.text_width
        if self.depth > blocks or width != mine:
            raise ValueError(
                f'deep prompts of depth {self.depth} and width {mine} do not fit the {"image" if image else "text"} '
                f'tower, which has {blocks} blocks of width {width}.'
            )

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], source: str | Path) -> CoupledPrompts:
        """Prompts with the sizes and numbers of a state dict.

        Raises:
            WeightMismatchError: If these are no prompts.
        """
        depth = sum(name.startswith('tokens.') for name in state)
        first, couple = state.get('tokens.0'), state.get('couplings.0.weight')
        if first is None or couple is None or first.ndim != 2 or couple.ndim != 2:
            raise WeightMismatchError(f"'{source}' holds no deep prompts (tokens.0 and couplings.0.weight).")
        prompts = cls(first.shape[1], couple.shape[0], first.shape[0], depth)
        load_into(prompts, state, source=source)
        return prompts


def read_deep_prompts(folder: str | Path) -> CoupledPrompts | None:
    """Prompts of the CLIP in a folder; None if it has none."""
    path = Path(folder) / FILE_NAME
    return CoupledPrompts.of_state(read_checkpoint(path).state_dict, path) if path.is_file() else None


def write_deep_prompts(prompts: CoupledPrompts, folder: str | Path) -> Path:
    """Write prompts into the folder of a CLIP; returns the file."""
    return write_safetensors(prompts.state_dict(), Path(folder) / FILE_NAME, provenance())
