"""Where a picture lies in what a network sees, and the way back: padding, windows, resizing and flips.

All of the suite's models place pictures by this module, from what MMSeg's or MMDet's pre-processing has noted, or from
nothing at all. Resizing is bilinear with ``align_corners=False`` unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""Height and width."""
Box = tuple[int, int, int, int]
"""``(top, bottom, left, right)``, ends exclusive."""

_FLIPPED_AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}


def size_of(planes: Tensor) -> Size:
    """Height and width of planes (..., H, W)."""
    return planes.shape[-2], planes.shape[-1]


def upper_left(size: Size) -> Box:
    """The box of a picture of this size that is padded at the right and bottom only."""
    return 0, size[0], 0, size[1]


def resize(planes: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    """Planes at another size; the same tensor where they have it.

    Shape:
        - planes: :math:`(C, h, w)` or :math:`(N, C, h, w)`; result: likewise, of ``size``
    """
    if size_of(planes) == tuple(size):
        return planes
    if not planes.numel():
        return planes.new_zeros((*planes.shape[:-2], *size))
    batch = planes if planes.ndim == 4 else planes[None]
    resized = F.interpolate(batch, size=tuple(size), mode='bilinear', align_corners=align_corners)
    return resized if planes.ndim == 4 else resized[0]


def nearest(planes: Tensor, size: Size) -> Tensor:
    """Planes of any type at another size, each place with what lies at its upper left corner.

    Shape:
        - planes: :math:`(..., h, w)`; result: likewise, of ``size``
    """
    rows, columns = (
        torch.arange(wanted, device=planes.device) * own // wanted
        for own, wanted in zip(size_of(planes), size, strict=True)
    )
    return planes[..., rows, :][..., columns]


# --- padding ------------------------------------------------------------------------------------------------------


def whole_multiples(size: Sequence[int], multiple: int | Size) -> Size:
    """A size whose sides are rounded up to whole multiples."""
    steps = (multiple, multiple) if isinstance(multiple, int) else multiple
    # Not -(-side // step): graphs divide whole numbers towards zero.
    height, width = ((side + step - 1) // step * step for side, step in zip(size, steps, strict=True))
    return height, width


def pad_to(images: Tensor, size: Size, colour: Sequence[float] | None = None) -> Tensor:
    """Pad at the right and bottom.

    Args:
        images: Pictures.
        size: Height and width of the result, no less than those of the pictures.
        colour: What to pad with, a number per channel; None: zeros.

    Shape:
        - images: :math:`(N, C, h, w)`; result: :math:`(N, C, H, W)`
    """
    height, width = size_of(images)
    if (height, width) == tuple(size):
        return images
    if colour is None:
        return F.pad(images, (0, size[1] - width, 0, size[0] - height))
    room = (0, size[1] - width, 0, size[0] - height)
    return torch.cat([F.pad(images[:, c : c + 1], room, value=value) for c, value in enumerate(colour)], dim=1)


def pad_to_multiple(images: Tensor, multiple: int | Size) -> Tensor:
    """Zeros at the right and bottom until both sides are multiples, (N, C, h, w) to (N, C, H, W)."""
    return pad_to(images, whole_multiples(size_of(images), multiple))


# --- windows ------------------------------------------------------------------------------------------------------


def slide_boxes(size: Size, crop: Sequence[int], stride: Sequence[int]) -> list[Box]:
    """Windows of sliding inference as MMSeg places them: the last row and column are anchored at the border.

    Args:
        size: Of the network's input.
        crop: Height and width of a window.
        stride: Vertical and horizontal step.

    Returns:
        The windows row by row; all of one size.
    """

    def spans(length: int, window: int, step: int) -> list[tuple[int, int]]:
        count = max(length - window + step - 1, 0) // step + 1
        ends = [min(i * step + window, length) for i in range(count)]
        return [(max(end - window, 0), end) for end in ends]

    rows, columns = (spans(*args) for args in zip(size, crop, stride, strict=True))
    return [(top, bottom, left, right) for top, bottom in rows for left, right in columns]


class Windows:
    """Windows over an input, and the mean of what is seen through them.

    Args:
        boxes: Where they lie.
        size: Of the input.

    Raises:
        ValueError: If they leave a part of the input out.
    """

    def __init__(self, boxes: Sequence[Box], size: Size) -> None:
        self.boxes, self.size = boxes, size
        self._count = np.zeros(size, dtype=np.int64)  # in NumPy: no wait for a device, nothing to look at on it
        for top, bottom, left, right in boxes:
            self._count[top:bottom, left:right] += 1
        if not self._count.all():
            raise ValueError(f'the windows leave a part of the {size[0]}x{size[1]} input uncovered.')

    def mean(self, parts: Iterable[Tensor], align_corners: bool = False) -> Tensor:
        """Planes of the whole input: each part is resized to its box, and the mean is taken where boxes overlap.

        Args:
            parts: Planes seen through each window, one after the other.
            align_corners: How they are resized.

        Shape:
            - parts: :math:`(C, h_i, w_i)` or :math:`(N, C, h_i, w_i)`; result: likewise, of the input's size
        """
        total: Tensor | None = None
        for part, (top, bottom, left, right) in zip(parts, self.boxes, strict=True):
            if total is None:
                total = part.new_zeros((*part.shape[:-2], *self.size))
            total[..., top:bottom, left:right] += resize(part, (bottom - top, right - left), align_corners)
        assert total is not None  # no window at all covers nothing, which was refused
        return total.div_(torch.as_tensor(self._count, dtype=total.dtype, device=total.device))


# --- the way back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """How planes reach the picture's own size: enlarged to the padded input, cut to the picture, resized, turned back.

    Attributes:
        padded: Size of the padded input; None: the planes have it already.
        valid: The picture in it; None: all of it.
        out: Size of the result; None: that of the picture in the input.
        flip: Direction in which the picture was flipped, ``'horizontal'``, ``'vertical'`` or ``'diagonal'``, which is
            undone at the end; None: it was not.

    Raises:
        ValueError: If the direction is another one, or padding leaves nothing of the picture.
    """

    padded: Size | None = None
    valid: Box | None = None
    out: Size | None = None
    flip: str | None = None

    def __post_init__(self) -> None:
        if self.flip is not None and self.flip not in _FLIPPED_AXES:
            raise ValueError(f"flip_direction '{self.flip}' is unknown; choose from {', '.join(_FLIPPED_AXES)}.")
        if self.valid is not None and (self.valid[0] >= self.valid[1] or self.valid[2] >= self.valid[3]):
            raise ValueError(f'padding leaves nothing of a picture: its rows and columns are {self.valid}.')

    @classmethod
    def of(cls, meta: Mapping[str, Any], input_size: Size, padded: Size | None = None) -> Placement:
        """From the meta information of a data sample.

        Padding is what MMSeg noted (``img_padding_size`` in tests, ``padding_size`` in training: left, right, top,
        bottom), or else what an input has more than ``img_shape``, which is MMDet's way. The result has ``ori_shape``.
        What is missing counts as unpadded, unresized and not flipped.

        Args:
            meta: Of the data sample.
            input_size: Of the preprocessed pictures.
            padded: Size after the model's own padding at the right and bottom; None: it adds none.
        """
        height, width = (int(side) for side in input_size)
        noted = meta.get('img_padding_size', meta.get('padding_size'))
        if noted is not None:
            left, right, top, bottom = (int(side) for side in noted)
            valid = (top, height - bottom, left, width - right)
        else:
            shape = meta.get('img_shape') or (height, width)
            valid = upper_left((min(int(shape[0]), height), min(int(shape[1]), width)))
        out = meta.get('ori_shape') or (valid[1] - valid[0], valid[3] - valid[2])
        flip = (meta.get('flip_direction') or 'horizontal') if meta.get('flip') else None
        return cls(padded or (height, width), valid, (int(out[0]), int(out[1])), flip)

    def from_picture(self) -> Placement:
        """The same for planes that were cut already."""
        return Placement(out=self.out, flip=self.flip)

    def enlarge(self, planes: Tensor) -> Tensor:
        """Planes at the size of the padded input, (C, h, w) to (C, H, W)."""
        return planes if self.padded is None else resize(planes, self.padded)

    def cut(self, planes: Tensor) -> Tensor:
        """Planes of the padded input without the padding, (..., H, W)."""
        if self.valid is None:
            return planes
        top, bottom, left, right = self.valid
        return planes[..., top:bottom, left:right]

    def turn_back(self, planes: Tensor) -> Tensor:
        """Planes (..., H, W) of a flipped picture as the picture was."""
        return planes if self.flip is None else planes.flip(_FLIPPED_AXES[self.flip])

    def finish(self, planes: Tensor) -> Tensor:
        """Planes of the padded input cut, resized and turned back, (C, H, W) to (C, H', W')."""
        planes = self.cut(planes)
        return self.turn_back(planes if self.out is None else resize(planes, self.out))

    def apply(self, planes: Tensor) -> Tensor:
        """The whole way."""
        return self.finish(self.enlarge(planes))

    def result_size(self, planes: Tensor) -> Size:
        """Size of the result for planes (..., h, w)."""
        height, width = self.padded or size_of(planes)
        if self.valid is not None:
            height = min(height, self.valid[1]) - self.valid[0]
            width = min(width, self.valid[3]) - self.valid[2]
        return self.out or (height, width)

    def largest(self, planes: Tensor) -> int:
        """Pixels of the largest plane on the way."""
        height, width = self.padded or size_of(planes)
        out_height, out_width = self.result_size(planes)
        return max(height * width, out_height * out_width)
