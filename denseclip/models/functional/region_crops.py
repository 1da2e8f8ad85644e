"""Cutting masks out of a picture, all of them at once: box, background, and a square of one size for each.

A mask's picture is the picture inside the mask's box with a plain background, squeezed to a square whatever its shape
(OVSeg, section 3.2). Resizing is bicubic as PyTorch's (``a = -0.75``, no anti-aliasing, taps clamped to the box), so
each row and each column of a square is a weighted sum of four rows and four columns of the box. Those sums are made
for many masks together, first over rows and then over columns, without a loop over masks and without a copy of the
picture per mask. Masks are resized to the nearest pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

_CUBIC = -0.75
Taps: TypeAlias = tuple[Tensor, Tensor]

DEFAULT_BUDGET = 4 * 2**20
"""Bytes of the boxes that are worked on together: small enough for a CPU's cache."""


@dataclass(frozen=True)
class RegionCrops:
    """Pictures of masks.

    Attributes:
        pictures: What is inside each mask, on a plain background.
        masks: The masks in the same frames: bool, or shares 0..1 with ``matting``.
        boxes: Where the frames lie: ``x1, y1, x2, y2`` in pixels, the last two exclusive.
        valid: Which masks have a pixel; the other fields are about these only, in their order.

    Shape:
        - pictures: :math:`(V, 3, S_h, S_w)`; masks: :math:`(V, S_h, S_w)`; boxes: :math:`(V, 4)`; valid: :math:`(Q,)`
    """

    pictures: Tensor
    masks: Tensor
    boxes: Tensor
    valid: Tensor


def tight_boxes(masks: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Tight boxes of masks.

    Args:
        masks: Shares of the pixels, 0..1, or boolean.
        threshold: A pixel is in a mask if its share is above this.

    Returns:
        ``x1, y1, x2, y2`` of the masks that have a pixel (int64, the last two exclusive), and which have one.

    Shape:
        - masks: :math:`(Q, H, W)`; results: :math:`(V, 4)` and :math:`(Q,)`
    """
    # The largest share of a row or column tells whether it has a pixel: no thresholded copy of all masks is made.
    planes = masks.view(torch.uint8) if masks.dtype == torch.bool else masks
    sides = []
    for axis in (1, 2):
        found = planes.amax(dim=axis) > (0 if masks.dtype == torch.bool else threshold)  # columns, then rows
        first = found.byte().argmax(dim=1)
        last = found.shape[1] - found.flip(1).byte().argmax(dim=1)
        sides.append((first, last))
    (x1, x2), (y1, y2) = sides
    valid = found.any(dim=1)
    return torch.stack([x1, y1, x2, y2], dim=1)[valid], valid


def expand_boxes(boxes: Tensor, ratio: float) -> Tensor:
    """Boxes stretched about their centres, corners truncated towards zero as in the authors' code.

    Args:
        boxes: ``x1, y1, x2, y2``, whole numbers.
        ratio: Factor of both sides.

    Shape:
        - boxes and result: :math:`(V, 4)`, int64
    """
    if ratio == 1.0:
        return boxes
    corners = boxes.double()
    centre, half = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]) * ratio / 2
    return torch.cat([centre - half, centre + half], dim=1).trunc().long()


def clamp_boxes(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Boxes cut to a picture of ``size`` (height, width); each keeps at least a pixel."""
    height, width = size
    limit = boxes.new_tensor([width, height])
    low = torch.minimum(boxes[:, :2].clamp_min(0), limit - 1)
    return torch.cat([low, torch.maximum(torch.minimum(boxes[:, 2:], limit), low + 1)], dim=1)


def crop_regions(
    image: Tensor,
    masks: Tensor,
    *,
    size: tuple[int, int],
    threshold: float = 0.5,
    fill: Sequence[float] = (0.0, 0.0, 0.0),
    expand: float = 1.0,
    matting: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    budget: int = DEFAULT_BUDGET,
) -> RegionCrops:
    """Cut every mask out of a picture.

    Args:
        image: RGB in 0..255.
        masks: Shares of the pixels, 0..1, or boolean.
        size: Height and width of the results.
        threshold: A pixel is in a mask if its share is above this.
        fill: Colour of the background, RGB in 0..255.
        expand: Factor of the boxes' sides.
        matting: Mix picture and background by the shares instead of cutting at the threshold.
        mean: Subtracted from each channel, for 0..255; None leaves colours as they are.
        std: Each channel is divided by it; None leaves colours as they are.
        budget: Bytes of the boxes that are worked on together; the memory beside the results is a few times this.

    Returns:
        The pictures, in the masks' order. Bicubic overshoot is not clipped.

    Shape:
        - image: :math:`(3, H, W)`; masks: :math:`(Q, H, W)`
    """
    if masks.shape[-2:] != image.shape[-2:]:
        raise ValueError(f'masks of {tuple(masks.shape[-2:])} for a picture of {tuple(image.shape[-2:])} pixels.')
    tight, valid = tight_boxes(masks, threshold)
    boxes = clamp_boxes(expand_boxes(tight, expand), image.shape[-2:])
    soft = matting and masks.dtype != torch.bool
    colour = image.new_tensor(list(fill))[:, None, None]
    scale = 1.0 / image.new_tensor(std if std is not None else [1.0] * 3)[:, None, None]
    background = (colour - image.new_tensor(mean if mean is not None else [0.0] * 3)[:, None, None]) * scale
    # Relative to the background: what a mask leaves out is then zero, and the resizing weights add up to one.
    source = ((image - colour) * scale).transpose(0, 1).contiguous()
    pictures = image.new_empty((len(boxes), 3, *size))
    frames = torch.empty((len(boxes), *size), dtype=masks.dtype if soft else torch.bool, device=masks.device)
    numbers = valid.nonzero()[:, 0]
    rows, columns = (_Axis.of(boxes[:, axis], boxes[:, axis + 2], size[1 - axis]) for axis in (1, 0))
    for chosen, width, height in _groups(boxes, budget):
        part = _Strips(boxes[chosen], width, height, image.shape[-1])
        shares = part.cut(masks, numbers[chosen])
        if not soft and masks.dtype != torch.bool:
            shares = shares > threshold
        frames[chosen] = part.nearest(shares, rows.nearest[chosen], columns.nearest[chosen])
        pictures[chosen] = part.bicubic(source, shares.to(image.dtype), rows.at(chosen), columns.at(chosen))
    if mean is None or list(fill) != list(mean):
        pictures += background
    return RegionCrops(pictures, frames, boxes, valid)


def _groups(boxes: Tensor, budget: int) -> Iterator[tuple[Tensor, int, int]]:
    """Boxes of like width together: their numbers, the largest width, and the sum of their heights."""
    sides = boxes[:, 2:] - boxes[:, :2]
    order = sides[:, 0].argsort()
    sizes: list[list[int]] = sides[order].tolist()
    start, total = 0, 0
    for stop, (width, height) in enumerate(sizes):
        if stop > start and (total + height) * width * 12 > budget:
            yield order[start:stop], sizes[stop - 1][0], total
            start, total = stop, 0
        total += height
    if sizes:
        yield order[start:], sizes[-1][0], total


@dataclass(frozen=True)
class _Axis:
    """Where the places of the results lie on one axis of the boxes, counted from the boxes' corners.

    Attributes:
        taps: Four pixels each, (V, S, 4).
        weights: Of the taps, (V, S, 4).
        nearest: The pixel for masks, (V, S).
    """

    taps: Tensor
    weights: Tensor
    nearest: Tensor

    @classmethod
    def of(cls, low: Tensor, high: Tensor, length: int) -> _Axis:
        """Of boxes from ``low`` to ``high`` (V,), resized to ``length``."""
        sides = (high - low)[:, None]
        scale = sides.float() / length
        place = torch.arange(length, device=low.device, dtype=torch.float32)
        # Rounded once, as by the fused multiply-add of PyTorch's kernel.
        position = (scale.double() * (place + 0.5) - 0.5).float()
        start = position.floor()
        t = (position - start)[..., None]
        x = torch.cat([t + 1, t, 1 - t, 2 - t], dim=-1)
        near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
        far = ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC
        weights = torch.cat([far[..., :1], near[..., 1:3], far[..., 3:]], dim=-1)
        taps = start.long()[..., None] + torch.arange(-1, 3, device=low.device)
        taps = torch.minimum(taps.clamp_min(0), (sides - 1)[..., None])
        return cls(taps, weights, torch.minimum((place * scale).long(), sides - 1))

    def at(self, chosen: Tensor) -> Taps:
        """Taps and weights of some of the boxes."""
        return self.taps[chosen], self.weights[chosen]


class _Strips:
    """The rows of some boxes, one below the other, all ``width`` pixels wide.

    Args:
        boxes: Boxes (n, 4).
        width: Of the widest.
        height: Sum of their heights.
        limit: Width of the picture, inside of which the strips stay.
    """

    def __init__(self, boxes: Tensor, width: int, height: int, limit: int) -> None:
        self.width, self.count = width, len(boxes)
        heights = boxes[:, 3] - boxes[:, 1]
        self.first = heights.cumsum(0) - heights  # where each box starts
        self.owner = torch.arange(self.count, device=boxes.device).repeat_interleave(heights, output_size=height)
        within = torch.arange(height, device=boxes.device) - self.first[self.owner]
        self.row = boxes[:, 1][self.owner] + within
        left = boxes[:, 0].clamp_max(limit - width)
        self.left, self.offset = left[self.owner], (boxes[:, 0] - left)[:, None]

    def cut(self, masks: Tensor, numbers: Tensor) -> Tensor:
        """Rows of one mask for each box, (rows, width)."""
        return masks.unfold(2, self.width, 1)[numbers[self.owner], self.row, self.left]

    def nearest(self, shares: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Masks at these rows (n, S_h) and columns (n, S_w) of their boxes, (n, S_h, S_w)."""
        picked = shares.index_select(0, (rows + self.first[:, None]).flatten()).view(*rows.shape, self.width)
        return picked.gather(2, (columns + self.offset)[:, None].expand(-1, rows.shape[1], -1))

    def bicubic(self, source: Tensor, shares: Tensor, rows: Taps, columns: Taps) -> Tensor:
        """The picture times the masks, resized.

        Args:
            source: Picture, (H, 3, W), zero where it is like the background.
            shares: Rows of the masks.
            rows: Taps and weights of the rows of the result.
            columns: The same of its columns.

        Shape:
            - result: :math:`(n, 3, S_h, S_w)`
        """
        count, width, tall, wide = self.count, self.width, rows[0].shape[1], columns[0].shape[1]
        pixels = source.unfold(2, width, 1).transpose(1, 2)[self.row, self.left]  # rows, 3, width
        pixels *= shares[:, None]
        squeezed = _weighted(pixels.flatten(1), rows[0] + self.first[:, None, None], rows[1])  # n S_h, 3 width
        turned = squeezed.view(count, tall, 3, width).permute(0, 3, 2, 1).reshape(count * width, 3 * tall)
        start = torch.arange(count, device=source.device)[:, None] * width + self.offset
        done = _weighted(turned, columns[0] + start[..., None], columns[1])  # n S_w, 3 S_h
        return done.view(count, wide, 3, tall).permute(0, 2, 3, 1)


def _weighted(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of a table.

    Shape:
        - table: :math:`(R, C)`; index and weights: :math:`(n, S, 4)`; result: :math:`(n S, C)`
    """
    picked = weights.flatten(0, 1).to(table.dtype)
    return F.embedding_bag(index.flatten(0, 1), table, mode='sum', per_sample_weights=picked)
