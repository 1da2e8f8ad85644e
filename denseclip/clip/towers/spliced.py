"""Windows of a picture as one map before they are projected: their last block has run, their mean goes on (Trident)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from denseclip.core.placement import Box, Size, Windows, whole_multiples

from ..attention import Guide
from ..blocks import grid_of_result
from .affinity_read import affinity_branch
from .joined import check_joinable
from .vit import ViTTower, to_map


def check_spliceable(tower: object) -> ViTTower:
    """The tower, if windows can be put together before its last projection.

    Raises:
        NoReadOutError: If they cannot.
        ValueError: If its last block looks by itself.
    """
    found = check_joinable(tower)  # type: ignore[arg-type]
    if found.read_out.attention != 'external':
        raise ValueError("sam= puts windows together that look by another network: it needs attention='external'.")
    return found


def window_planes(tower: ViTTower, tokens: Tensor, grid: Size, guide: Guide) -> Tensor:
    """What the last block's attention makes of windows, before the final norm.

    Args:
        tower: See :func:`check_spliceable`.
        tokens: Before the last block.
        grid: Height and width of the patches in them.
        guide: Has the affinity, which decides the size of the result.

    Shape:
        - tokens: :math:`(N, 1 + hw, C)`; result: :math:`(N, C, h', w')`
    """
    block = tower.visual.transformer.resblocks[-1]
    return to_map(affinity_branch(block, tokens, grid, guide), grid_of_result(guide, grid))


def splice(windows: Sequence[Tensor], boxes: Sequence[Box], size: Size, patch: Size) -> Tensor:
    """The mean of windows where they overlap, on a grid as fine as theirs.

    Args:
        windows: Planes (C, h', w') of each.
        boxes: Where they lie in the picture, in whole patches of CLIP.
        size: Of the picture.
        patch: Height and width of those patches.

    Returns:
        (C, H', W').
    """
    height, width = boxes[0][1] - boxes[0][0], boxes[0][3] - boxes[0][2]
    # The grid of the other network need not divide CLIP's: the nearest whole number of its patches to one of CLIP's.
    finer = (
        max(1, round(windows[0].shape[1] * patch[0] / height)),
        max(1, round(windows[0].shape[2] * patch[1] / width)),
    )

    def fine(top: int, bottom: int, left: int, right: int) -> Box:
        rows, columns = (side // step * times for side, step, times in zip((top, left), patch, finer, strict=True))
        below, beyond = (side // step * times for side, step, times in zip((bottom, right), patch, finer, strict=True))
        return rows, below, columns, beyond

    whole = size[0] // patch[0] * finer[0], size[1] // patch[1] * finer[1]
    return Windows([fine(*box) for box in boxes], whole).mean(windows)


def embeddings_of(tower: ViTTower, planes: Tensor) -> Tensor:
    """Joint-space embeddings of planes before the final norm, (N, C, h, w) to (N, E, h, w)."""
    tokens = planes.flatten(2).transpose(1, 2)
    return to_map(tower.project(tower.after_blocks(tokens)), (planes.shape[2], planes.shape[3]))


def whole_patches(size: Size, patch: Size, least: Size) -> Size:
    """Size that Trident gives a picture: whole patches on both sides, no side below a window's.

    The longer side is rounded up to whole patches, the other one keeps the shape of the picture and is rounded up, too.

    Args:
        size: Of the picture.
        patch: Height and width of a patch.
        least: Of a window.
    """
    if not any(side % step for side, step in zip(size, patch, strict=True)):
        return max(size[0], least[0]), max(size[1], least[1])
    step = patch[0] if size[0] >= size[1] else patch[1]
    longest = max(size)
    longer, _ = whole_multiples((longest, longest), step)
    height, width = whole_multiples([int(side * longer / longest) for side in size], patch)
    return max(height, least[0]), max(width, least[1])
