"""Which query answers for which segment: the cheapest assignment over a few sampled points of the masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.ops import point_sample
from mmdet.models.task_modules.assigners import ClassificationCost, CrossEntropyLossCost, DiceCost
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from denseclip.core.precision import full_precision

Match = tuple[Tensor, Tensor]
"""Queries and the segments they answer for, index for index."""


class PointMaskMatcher:
    """Hungarian matching with the costs of Mask2Former (Cheng et al., CVPR 2022, section 3.3).

    All masks of a picture, predicted and true, are sampled at the same random points.

    Args:
        class_cost: Weight of the negative class probability.
        mask_cost: Weight of the binary cross entropy.
        dice_cost: Weight of the dice loss.
        num_points: Points per picture.
    """

    def __init__(
        self, class_cost: float = 2.0, mask_cost: float = 5.0, dice_cost: float = 5.0, num_points: int = 12544
    ) -> None:
        self.costs = (
            CrossEntropyLossCost(use_sigmoid=True, weight=mask_cost),
            ClassificationCost(weight=class_cost),
            DiceCost(pred_act=True, eps=1.0, weight=dice_cost),
        )
        self.num_points = num_points

    @torch.no_grad()
    def __call__(
        self, class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData], layer: str = 'last'
    ) -> list[Match]:
        """Match a batch.

        Args:
            class_logits: Of the queries, void last.
            mask_logits: Of the queries.
            targets: Segments of each picture: ``labels`` (n) and ``masks`` (n, H, W) with values in [0, 1].
            layer: Whose predictions these are, for the error.

        Returns:
            For each picture the matched queries, ascending, and their segments; on the CPU.

        Raises:
            FloatingPointError: If predictions are not finite.

        Shape:
            - class_logits: :math:`(N, Q, K + 1)`; mask_logits: :math:`(N, Q, h, w)`
        """
        # Drawn picture by picture, and before anything waits for the device.
        points = [torch.rand(1, self.num_points, 2, device=mask_logits.device) for _ in targets]
        predictions = zip(class_logits, mask_logits, targets, points, strict=True)
        costs = [self.cost(*prediction).cpu() for prediction in predictions]
        try:
            pairs = [linear_sum_assignment(cost) for cost in costs]
        except ValueError as error:
            raise FloatingPointError(
                f'class or mask logits of the {layer} decoder layer are not finite, so queries cannot be matched with '
                'segments: lower the learning rate, or train in bfloat16 or float32.'
            ) from error
        return [(torch.as_tensor(queries), torch.as_tensor(segments)) for queries, segments in pairs]

    def cost(self, class_logits: Tensor, mask_logits: Tensor, target: InstanceData, points: Tensor) -> Tensor:
        """Cost of every pair of a query and a segment of one picture.

        Args:
            class_logits: Of the queries.
            mask_logits: Of the queries.
            target: Segments of the picture.
            points: Where the masks are sampled, ``(x, y)`` in units of the picture.

        Shape:
            - class_logits: :math:`(Q, K + 1)`; mask_logits: :math:`(Q, h, w)`; points: :math:`(1, P, 2)`
            - result: :math:`(Q, n)`
        """
        with full_precision(mask_logits.device.type):
            # One grid for all masks of the picture: they are its channels.
            predicted = point_sample(mask_logits[None].float(), points)[0]
            true = point_sample(target.masks[None].float(), points)[0]
            queries = InstanceData(scores=class_logits.float(), masks=predicted)
            segments = InstanceData(labels=target.labels, masks=true)
            return sum(cost(queries, segments) for cost in self.costs)  # type: ignore[return-value]
