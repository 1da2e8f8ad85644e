"""Boxes as regions of a stride-4 map, and the pixel-text loss inside them (DenseCLIP, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import full_precision


def paint_boxes(
    boxes: Tensor, labels: Tensor, images: Tensor, shape: tuple[int, int, int, int], stride: int = 4
) -> Tensor:
    """Mark the cells of each class's boxes, all boxes of a batch at once.

    A box's corners are divided by ``stride``, truncated and clamped to the last row and column; the box covers the
    half-open range between them. So, as in the authors' code, a box without a whole cell marks nothing, and the last
    row and column are never marked. Each box adds four numbers to a difference image, whose running sums count the
    boxes over every cell: the time does not grow with the boxes' areas, and no order of additions can matter.

    Args:
        boxes: ``x1, y1, x2, y2`` in pixels of the padded batch, (n, 4); degenerate and inverted boxes mark nothing.
        labels: class of every box, (n,), int64 in [0, K).
        images: picture of every box, (n,), int64 in [0, B).
        shape: B, K, h, w of the result.
        stride: pixels per cell.

    Returns:
        Whether a cell lies in a box of the class, bool, (B, K, h, w).
    """
    batch, classes, height, width = shape
    cells = (boxes.detach() / stride).long()
    x1, x2 = cells[:, 0].clamp(0, width - 1), cells[:, 2].clamp(0, width - 1)
    y1, y2 = cells[:, 1].clamp(0, height - 1), cells[:, 3].clamp(0, height - 1)
    x2, y2 = torch.maximum(x1, x2), torch.maximum(y1, y2)
    steps = torch.zeros((batch * classes, height * width), dtype=torch.int32, device=boxes.device).flatten()
    place = (images * classes + labels) * (height * width)
    corners = torch.cat([place + y * width + x for y, x in ((y1, x1), (y2, x2), (y1, x2), (y2, x1))])
    signs = steps.new_ones(2 * len(boxes))
    steps = steps.index_add(0, corners, torch.cat([signs, -signs])).view(shape)
    return steps.cumsum(2, dtype=torch.int32).cumsum(3, dtype=torch.int32) > 0


def box_pixel_text_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy over the cells that lie in a box of any class.

    Cells outside all boxes have no weight: nobody said what is there. Inside, every class without a box is a negative.

    Args:
        logits: score map divided by the temperature, (B, K, h, w).
        target: which cells each class's boxes cover, bool, (B, K, h, w).

    Returns:
        The loss, a scalar; zero, with zero gradients, when no cell of the batch is covered.
    """
    weight = target.any(dim=1, keepdim=True)
    with full_precision(logits.device.type):
        logits = logits.float()
        losses = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction='none')
        # where() and not a product: a logit that overflowed outside the boxes must not turn 0 * inf into NaN.
        total = torch.where(weight, losses, losses.new_zeros(())).sum()
        return total / (weight.sum() * target.shape[1]).clamp_min(1)
