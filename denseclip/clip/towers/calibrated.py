"""The last block on repaired tokens, with what middle blocks know mixed in (SC-CLIP, SFP)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..attention import Guide
from ..errors import NoReadOutError
from ..likeness import Likeness
from ..middle_layers import MiddleLayers, MiddleNotes
from ..token_repair import mend
from .base import DenseReadOut
from .changed_blocks import changed_blocks


def repaired(
    read_out: DenseReadOut, tokens: Tensor, grid: tuple[int, int], notes: MiddleNotes | None
) -> tuple[Tensor, Tensor | None]:
    """Tokens before the last blocks without those that stick out, and which those were.

    Shape:
        - tokens and first result: :math:`(N, 1 + hw, C)`; second result: :math:`(N, hw)`
    """
    if read_out.repair is None:
        return tokens, None
    patches = tokens[:, 1:]
    bad = read_out.repair.find(patches, None if notes is None else notes.looks)
    return torch.cat([tokens[:, :1], mend(patches, bad, grid)], dim=1), bad


def calibrated_patches(
    block: nn.Module,
    read_out: DenseReadOut,
    tokens: Tensor,
    bad: Tensor | None,
    grid: tuple[int, int],
    notes: MiddleNotes | None,
) -> Tensor:
    """Patches after the last block, in which the class token takes no part.

    Source: SC-CLIP (Bai et al., 2024), self-calibration and multi-level fusion; SFP (Jin et al., ICCV 2025).

    Args:
        block: The last block.
        read_out: Its ``middle`` says what is mixed in.
        tokens: Tokens before that block, repaired.
        bad: Patches that were repaired; those of the block that says what is alike are, too.
        grid: Height and width in patches.
        notes: Tokens of the middle blocks.

    Shape:
        - tokens: :math:`(N, 1 + hw, C)`; bad: :math:`(N, hw)`; result: :math:`(N, hw, C)`
    """
    how = read_out.middle
    assert how is not None
    if notes is None:
        raise ValueError('read_out.middle needs the tokens of middle blocks, which this method does not keep.')
    alike = notes.tokens[how.alike][:, 1:]
    likeness = _likeness(how, alike if bad is None else mend(alike, bad, grid))

    def through(patches: Tensor, class_token: Tensor, settings: DenseReadOut) -> Tensor:
        out = changed_blocks([block], settings, patches, grid, Guide(likeness=likeness), special=0)
        return out + how.class_token * class_token

    result = through(likeness.gather(tokens[:, 1:]), tokens[:, :1], read_out)
    if how.summed:
        total = torch.stack([notes.tokens[index] for index in how.summed]).sum(dim=0)
        again = replace(read_out, attention=how.summed_attention or read_out.attention)
        result = result + through(total[:, 1:], total[:, :1], again)
    return _likeness(how, notes.tokens[how.after][:, 1:]).gather(result)  # linear, so once for both


def _likeness(how: MiddleLayers, tokens: Tensor) -> Likeness:
    return Likeness(tokens, how.least, how.sharpness, how.cut_first)


def named_blocks(read_out: DenseReadOut, count: int) -> dict[int, list[int]]:
    """Middle blocks that a read-out needs, each with the numbers that the read-out calls it by.

    Raises:
        NoReadOutError: If there are not as many blocks before the last one, or none before it to repair tokens after.
    """
    wanted = () if read_out.middle is None else read_out.middle.blocks
    found: dict[int, list[int]] = {}
    for name in wanted:
        index = name + count if name < 0 else name
        if not 0 <= index < count - 1:
            raise NoReadOutError(
                f'read_out.middle takes tokens after block {name}, but this tower has blocks 0 to {count - 1}, and the '
                'last one is the one that is changed: give other numbers (alike, after, summed).'
            )
        found.setdefault(index, []).append(name)
    if read_out.looks and count <= read_out.layers:
        raise NoReadOutError("repair by sign='attention' looks at the block before the last ones, and there is none.")
    return found
