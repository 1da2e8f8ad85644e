"""Cross entropy with class weights that also works where labels are ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ClassBalancedCrossEntropyLoss(nn.Module):
    """Cross entropy, each pixel weighted by its class, averaged over the weights of the labelled pixels.

    Rare, thin classes (poles, cyclists) cover a percent of the pixels and are otherwise learned last. A usual choice is
    ``sqrt(median frequency / frequency)``. MMSeg's ``CrossEntropyLoss(class_weight=...)`` indexes the weights with the
    ignore label (255) when it averages, which fails as soon as a pixel is ignored.

    Args:
        class_weight: weight of every class, positive, in label order.
        loss_weight: factor of the loss.
        loss_name: key of the loss; must contain ``loss`` to be summed by MMEngine.
    """

    class_weight: Tensor

    def __init__(self, class_weight: Sequence[float], loss_weight: float = 1.0, loss_name: str = 'loss_ce') -> None:
        super().__init__()
        if not class_weight or min(class_weight) <= 0:
            raise ValueError(f'class_weight must hold a positive number for every class, got {class_weight}.')
        self.register_buffer('class_weight', torch.tensor(list(class_weight)), persistent=False)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255, **kwargs: Any
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: logits, (N, K, H, W).
            label: class of every pixel, (N, H, W), ``ignore_index`` where unknown.
            weight: additional weight of every pixel, (N, H, W), as MMSeg's pixel samplers give it.
            ignore_index: label that does not count.
            kwargs: further arguments of MMSeg's loss interface, unused.

        Returns:
            Scalar; 0 with a gradient when every pixel is ignored.

        Raises:
            ValueError: if the logits have another number of classes than ``class_weight``.
        """
        self.require_classes(cls_score.shape[1])
        class_weight = self.class_weight.to(cls_score.dtype)
        losses = F.cross_entropy(cls_score, label, weight=class_weight, ignore_index=ignore_index, reduction='none')
        weights = class_weight[label.clamp(0, cls_score.shape[1] - 1)] * (label != ignore_index)
        if weight is not None:
            losses, weights = losses * weight, weights * weight
        return self.loss_weight * losses.sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).eps)

    def require_classes(self, count: int) -> None:
        """Refuse logits of another number of classes than there are weights.

        Raises:
            ValueError: If they are.
        """
        if count != self.class_weight.numel():
            raise ValueError(
                f'class_weight has {self.class_weight.numel()} entries, the logits have {count} classes: '
                'give one weight per class, or use CrossEntropyLoss.'
            )
