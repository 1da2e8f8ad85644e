"""What a read-out takes from middle blocks besides the tokens that reach the last one (SC-CLIP, SFP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class MiddleLayers:
    """Settings; block numbers are 0-based, negative ones count from the end. They are those of ViT-B/16's 12 blocks.

    Attributes:
        alike: Block whose tokens say which patches are alike: tokens are averaged by that before the last block, and
            the term ``'alike'`` of ``attention`` looks by it.
        after: Block that says so for the averaging after the last block.
        summed: Blocks whose summed tokens take the last block, too; that is added.
        summed_attention: Attention of those; None: that of the read-out.
        least: See :class:`denseclip.clip.likeness.Likeness`, as the next two.
        sharpness: Of the term ``'alike'``.
        cut_first: See there.
        class_token: Factor of the class token, which is added to all patches after the last block.
    """

    alike: int = 8
    after: int = 3
    summed: tuple[int, ...] = (3, 4, 5, 6, 7, 8, 9)
    summed_attention: str | None = None
    least: float = 0.4
    sharpness: float = 3.0
    cut_first: bool = False
    class_token: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, 'summed', tuple(self.summed))

    @property
    def blocks(self) -> tuple[int, ...]:
        """All blocks whose tokens are needed."""
        return tuple(dict.fromkeys((self.alike, self.after, *self.summed)))


def block_numbers(wanted: Sequence[int], depth: int, name: str, end: int | None = None) -> tuple[int, ...]:
    """Blocks counted from the start.

    Args:
        wanted: Their numbers; negative ones count from the end.
        depth: How many blocks there are.
        name: Of the setting, for the message.
        end: The first block that may not be named; None: all may.

    Raises:
        ValueError: If there are no such blocks, or one is named twice.
    """
    end = depth if end is None else end
    found = tuple(i + depth if i < 0 else i for i in wanted)
    if any(not 0 <= i < end for i in found) or len(set(found)) != len(found):
        raise ValueError(
            f'{name}={tuple(wanted)}: give different blocks from 0 to {end - 1} of this tower of {depth}, or count '
            'them from its end.'
        )
    return found


@dataclass
class MiddleNotes:
    """What a walk through the blocks notes for the last one.

    Attributes:
        tokens: After blocks that :class:`MiddleLayers` names, (N, 1 + L, C) by the name used there.
        looks: See :func:`denseclip.clip.token_repair.looks_at_patches`, of the block before the last.
    """

    tokens: dict[int, Tensor] = field(default_factory=dict)
    looks: tuple[Tensor, Tensor] | None = None
