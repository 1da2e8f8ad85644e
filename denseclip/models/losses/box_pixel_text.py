"""The auxiliary loss of DenseCLIP's detectors: boxes supervise the score map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.models.functional.box_regions import box_pixel_text_loss, paint_boxes


@MODELS.register_module()
class BoxPixelTextLoss(nn.Module):
    """Binary cross-entropy of ``score map / tau`` at stride 4, inside ground-truth boxes (DenseCLIP, section 3.4).

    Only boxes are used, also where masks are known. Crowd regions are no boxes of a class: leave them out. It has no
    parameters.

    Args:
        loss_weight: factor of the loss.
        stride: pixels per cell of the target.
    """

    def __init__(self, loss_weight: float = 1.0, stride: int = 4) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.stride = stride

    def target(
        self, boxes: Sequence[Tensor], labels: Sequence[Tensor], num_classes: int, size: Sequence[int]
    ) -> Tensor:
        """Cells that each class's boxes cover.

        Args:
            boxes: ``x1, y1, x2, y2`` in pixels, (n_i, 4), per picture.
            labels: classes, (n_i,), per picture.
            num_classes: number of classes K.
            size: height and width of the padded batch in pixels.

        Returns:
            Bool, (B, K, H / stride, W / stride).
        """
        device, counts = boxes[0].device, [len(b) for b in boxes]
        images = torch.arange(len(boxes), device=device).repeat_interleave(
            torch.tensor(counts, device=device), output_size=sum(counts)
        )
        shape = (len(boxes), num_classes, size[0] // self.stride, size[1] // self.stride)
        return paint_boxes(torch.cat(list(boxes)), torch.cat(list(labels)), images, shape, self.stride)

    def forward(self, logits: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Compute the loss.

        Args:
            logits: score map divided by the temperature, (B, K, h, w), of any size.
            boxes: see :meth:`target`.
            labels: see :meth:`target`.
            size: see :meth:`target`.

        Returns:
            The loss; zero when nothing is painted.
        """
        target = self.target(boxes, labels, logits.shape[1], size)
        logits = F.interpolate(logits, size=target.shape[-2:], mode='bilinear', align_corners=False)
        return self.loss_weight * box_pixel_text_loss(logits, target)
