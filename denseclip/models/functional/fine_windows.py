"""What a picture's patches are when it is seen through many overlapping windows, each of a size that a tower knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import gcd

import torch
from torch import Tensor

from denseclip.core.placement import Box, Size, Windows, resize, size_of, slide_boxes


def fine_window_features(
    read: Callable[[Tensor], Tensor], images: Tensor, patch: Size, window: Size, stride: Size, batch: int = 1
) -> Tensor:
    """Mean features of all windows that see a patch.

    Patches of windows whose step is no multiple of a patch lie between one another. So every window's map is enlarged
    until all of them fall on one grid, whose cells are as large as the common divisor of patch and stride allows; the
    mean is taken there, and that map is reduced to a cell a patch. The sums are in float32 at least.

    Source: SPAR (Kombol et al., CVPR 2026), the teacher.

    Args:
        read: From pictures of a window's size to their features, one for each patch.
        images: Pictures; sides are whole multiples of a patch.
        patch: Height and width of a patch in pixels.
        window: Height and width of a window, multiples of a patch; a side is cut to the picture's where that is less.
        stride: Vertical and horizontal step in pixels.
        batch: Windows that ``read`` gets at once; no fewer than there are pictures.

    Raises:
        ValueError: Sides are no multiples of a patch, or steps leave a part of the picture out.

    Shape:
        - images: :math:`(N, 3, H, W)`; read: :math:`(B, 3, h, w)` to :math:`(B, C, h / p, w / p)`
        - result: :math:`(N, C, H / p, W / p)`
    """
    size = size_of(images)
    for name, sides in (('pictures', size), ('windows', window)):
        if any(side % step for side, step in zip(sides, patch, strict=True)):
            raise ValueError(f'{name} of {sides[0]}x{sides[1]} are no whole patches of {patch[0]}x{patch[1]} pixels.')
    if min(stride) < 1:
        raise ValueError(f'stride={tuple(stride)}: windows have to move by one pixel at least.')
    boxes = slide_boxes(size, window, stride)
    tall, wide = (gcd(*sides) for sides in zip(patch, stride, strict=True))
    cells = [(top // tall, bottom // tall, left // wide, right // wide) for top, bottom, left, right in boxes]
    mean = Windows(cells, (size[0] // tall, size[1] // wide)).mean(_seen(read, images, boxes, batch))
    return resize(mean, (size[0] // patch[0], size[1] // patch[1]))


def _seen(read: Callable[[Tensor], Tensor], images: Tensor, boxes: Sequence[Box], batch: int) -> Iterator[Tensor]:
    """Features (N, C, h, w) of all pictures through one window after the other."""
    count = len(images)
    step = max(batch // count, 1)
    for start in range(0, len(boxes), step):
        crops = [images[..., top:bottom, left:right] for top, bottom, left, right in boxes[start : start + step]]
        features = read(torch.cat(crops))
        yield from features.to(torch.promote_types(features.dtype, torch.float32)).split(count)
