"""Which query is to learn which mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners import ClassificationCost, DiceCost
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from denseclip.core.precision import full_precision

Match = tuple[Tensor, Tensor]
"""Queries of a picture, ascending, and the target of each, on the CPU."""


class FocalMaskCost:
    """Mean focal loss over the pixels of every predicted and every true mask, from logits.

    MMDetection's takes the logarithm of a probability, which a logit beyond 17 rounds to 0 or 1: all wrong pixels that
    are surer than that cost the same there, and other queries are matched.

    Source: MaskFormer (Cheng et al., NeurIPS 2021), section 3.2, with the focal loss of Lin et al. (ICCV 2017).

    Args:
        weight: Of the cost.
        alpha: Weight of foreground pixels, the background's is ``1 - alpha``.
        gamma: Focus on wrong pixels.
    """

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.weight, self.alpha, self.gamma = weight, alpha, gamma

    def __call__(self, predicted: InstanceData, true: InstanceData) -> Tensor:
        """Cost of every pair.

        Args:
            predicted: With ``masks``, logits (Q, h, w).
            true: With binary ``masks`` (n, h, w).

        Returns:
            Costs (Q, n).
        """
        logits, inside = predicted.masks.flatten(1), true.masks.flatten(1).to(predicted.masks.dtype)
        missed, invented = (
            sigmoid_focal_loss(logits, truth, self.alpha, self.gamma)
            for truth in (torch.ones_like(logits), torch.zeros_like(logits))
        )
        return self.weight * (missed @ inside.T + invented @ (1 - inside).T) / logits.shape[1]


class WholeMaskMatcher:
    """Best one-to-one assignment of targets to queries by class, focal and dice cost (MaskFormer, section 3.2).

    Args:
        class_cost: Weight of the negative class probability.
        mask_cost: Weight of the focal cost.
        dice_cost: Weight of the dice cost.
    """

    def __init__(self, class_cost: float = 1.0, mask_cost: float = 20.0, dice_cost: float = 1.0) -> None:
        self.costs = (
            ClassificationCost(weight=class_cost),
            FocalMaskCost(mask_cost),
            DiceCost(weight=dice_cost, pred_act=True, eps=1.0),
        )

    @torch.no_grad()
    def __call__(self, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData]) -> list[list[Match]]:
        """Match all layers of a decoder.

        The costs of all layers of a picture are computed at once, and the device is waited for once per batch.

        Args:
            class_logits: "No object" last.
            mask_logits: Of the same queries.
            targets: Per picture ``labels`` (n,) and ``masks`` (n, H, W); ``n`` may be 0.

        Returns:
            For each layer and picture the matched queries and their targets.

        Raises:
            FloatingPointError: If a prediction is not finite.

        Shape:
            - class_logits: :math:`(L, N, Q, K + 1)`; mask_logits: :math:`(L, N, Q, h, w)`
        """
        costs = [self.cost(class_logits[:, i], mask_logits[:, i], target) for i, target in enumerate(targets)]
        sizes = [cost.shape for cost in costs]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu().split([size.numel() for size in sizes])
        on_cpu = [cost.view(size) for cost, size in zip(flat, sizes, strict=True)]
        return [[_assign(cost[layer]) for cost in on_cpu] for layer in range(class_logits.shape[0])]

    def cost(self, class_logits: Tensor, mask_logits: Tensor, target: InstanceData) -> Tensor:
        """Cost of every query of every layer and every target of one picture.

        Shape:
            - class_logits: :math:`(L, Q, K + 1)`; mask_logits: :math:`(L, Q, h, w)`; result: :math:`(L, Q, n)`
        """
        layers, queries = class_logits.shape[:2]
        with full_precision(mask_logits.device.type):
            segments = InstanceData(
                labels=target.labels, masks=shrink(target.masks, (mask_logits.shape[-2], mask_logits.shape[-1]))
            )
            predicted = InstanceData(scores=class_logits.flatten(0, 1).float(), masks=mask_logits.flatten(0, 1).float())
            total = sum(cost(predicted, segments) for cost in self.costs)
        return total.view(layers, queries, -1)  # type: ignore[union-attr]


def shrink(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Binary masks (n, H, W) at another size by nearest neighbours; also none of them."""
    if not masks.shape[0]:
        return masks.new_zeros((0, *size), dtype=torch.float)
    return F.interpolate(masks[:, None].float(), size=size, mode='nearest')[:, 0]


def _assign(cost: Tensor) -> Match:
    try:
        queries, segments = linear_sum_assignment(cost)
    except ValueError as error:
        raise FloatingPointError(
            'class or mask logits are not finite, so queries cannot be matched with targets: lower the learning rate, '
            'or train in bfloat16 or float32.'
        ) from error
    return torch.as_tensor(queries), torch.as_tensor(segments)
