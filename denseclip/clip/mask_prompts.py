"""Mask prompts: learned tokens for the patches that a mask leaves out (OVSeg, section 3.3).

A picture of a masked region shows nothing in many of its patches. With mask prompts those patches are not background
colour but tokens that were learned to stand for "nothing here": they take the place of the patch embeddings before
positions are added, and again of the tokens after each of the first blocks. The class token is never touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from denseclip.weights.positions import resize_positions


@dataclass(frozen=True)
class MaskPrompts:
    """Which patches are blank, and what stands in for them.

    Attributes:
        keep: Patches that show something of the region; the others are replaced.
        embedding: Prompts of the input and of the blocks after it. One for each place of the weights' own grid, or one
            for all places.

    Shape:
        - keep: :math:`(N, hw)`, bool
        - embedding: :math:`(D, h_0 w_0, C)` or :math:`(D, 1, C)`; ``D`` is the depth
    """

    keep: Tensor
    embedding: Tensor

    @property
    def depth(self) -> int:
        """How often blank patches are replaced: at the input, and after each of the first ``depth - 1`` blocks."""
        return self.embedding.shape[0]

    def replace(self, patches: Tensor, level: int, grid: tuple[int, int]) -> Tensor:
        """Patches with prompts at the blank ones.

        Args:
            patches: Patch tokens, without class token.
            level: 0 at the input, d after the d-th block.
            grid: Height and width in patches.

        Returns:
            The patches; as they are from level ``depth`` on.

        Raises:
            ValueError: If there are not as many flags as patches, or the prompts are of another width.

        Shape:
            - patches and result: :math:`(N, hw, C)`
        """
        if level >= self.depth:
            return patches
        if self.keep.shape != patches.shape[:2] or self.embedding.shape[2] != patches.shape[2]:
            raise ValueError(
                f'mask prompts for {tuple(self.keep.shape)} patches of width {self.embedding.shape[2]}, but there are '
                f'{tuple(patches.shape[:2])} patches of width {patches.shape[2]}.'
            )
        prompts = self.embedding[level]
        if math.isqrt(len(prompts)) ** 2 == len(prompts) > 1:
            prompts = resize_positions(prompts, grid, prefix=0)  # as it is where it fits already
        return torch.where(self.keep[..., None], patches, prompts.to(patches.dtype))

    def replace_tokens(self, tokens: Tensor, level: int, grid: tuple[int, int], prefix: int = 1) -> Tensor:
        """:meth:`replace` for tokens that start with ``prefix`` others (class token, registers).

        Shape:
            - tokens and result: :math:`(N, P + hw, C)`
        """
        if level >= self.depth:
            return tokens
        return torch.cat([tokens[:, :prefix], self.replace(tokens[:, prefix:], level, grid)], dim=1)
