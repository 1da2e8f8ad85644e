"""Losses of a mask generator: classes, and masks at the points where they are least sure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from mmdet.models.utils import get_uncertain_point_coords_with_randomness
from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from torch import Tensor, nn

from denseclip.core.precision import full_precision
from denseclip.core.regions import region

from ..mask_head import LayerPrediction, MaskPredictions
from .matcher import Match, PointMaskMatcher

MatchedLosses = Callable[[Sequence[InstanceData], Sequence[Match]], dict[str, Tensor]]
"""Losses of segments and the queries that answer for them."""


Segments = tuple[Tensor, Tensor]
"""All masks of a picture (n, H, W), and rows of them (M)."""
_COPIED = 1 << 22  # pixels of masks that are copied at a time


class MaskCriterion(nn.Module):
    """Losses of Mask2Former (Cheng et al., CVPR 2022, section 3.3), for all layers of the decoder.

    Every segment is matched with one query. Matched queries learn the segment's class, the others the void class;
    matched masks learn the segment with binary cross entropy and dice at ``num_points`` points, chosen as PointRend
    does: of ``oversample_ratio`` times as many random ones the least sure, and a rest at random.

    Args:
        class_weight: Weight of the class loss.
        mask_weight: Weight of the binary cross entropy.
        dice_weight: Weight of the dice loss.
        void_weight: Weight of the void class within the class loss.
        num_points: Points per mask.
        oversample_ratio: Candidates per point.
        importance_sample_ratio: Part of the points that are the least sure ones, 0..1.

    The matcher's costs have the weights of the losses, as in the published configs.
    """

    def __init__(
        self,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        void_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        self.weights = {'loss_ce': class_weight, 'loss_mask': mask_weight, 'loss_dice': dice_weight}
        self.void_weight = void_weight
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_sample_ratio = importance_sample_ratio
        self.matcher = PointMaskMatcher(class_weight, mask_weight, dice_weight, num_points)

    def forward(
        self, predictions: MaskPredictions, targets: Sequence[InstanceData], also: MatchedLosses | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses of all layers in ``predictions``.

        Args:
            predictions: Of the decoder.
            targets: Segments of each picture: ``labels`` (n) below the number of classes, and ``masks`` (n, H, W),
                bool or in [0, 1], of the size of the padded batch. A picture may have none, and so may all of them.
            also: Further losses of the segments and the queries that the last layer matches them with.

        Returns:
            ``loss_ce``, ``loss_mask``, ``loss_dice`` of the last layer, and the same with ``_i`` for the prediction
            after i layers.
        """
        segments = self.prepare(targets, predictions.last.mask_logits.device)
        num_masks = self.count_masks(segments, predictions.last.mask_logits.device)
        last = len(predictions.layers) - 1
        losses = {}
        # The last layer first, as the authors do: the random points follow each other in the same order.
        for index in (last, *range(last)):
            layer = predictions.layers[index]
            suffix, name = ('', 'last') if index == last else (f'_{index}', f'{index}th')
            with torch.no_grad():
                matches = self.matcher(layer.class_logits, layer.mask_logits, segments, name)
            for key, value in self.layer_losses(layer, segments, matches, num_masks).items():
                losses[key + suffix] = value * self.weights[key]
            if also is not None and index == last:
                losses.update(also(segments, matches))
        return losses

    @staticmethod
    def prepare(targets: Sequence[InstanceData], device: torch.device) -> list[InstanceData]:
        """Targets on a device, masks as float32 for sampling, converted once for all layers.

        Raises:
            ValueError: If masks of different pictures have different sizes.
        """
        sizes = {tuple(target.masks.shape[-2:]) for target in targets}
        if len(sizes) > 1:
            raise ValueError(f'pad all masks of a batch to the size of the padded pictures; got sizes {sorted(sizes)}.')
        return [
            InstanceData(labels=target.labels.to(device), masks=target.masks.to(device, torch.float32))
            for target in targets
        ]

    @staticmethod
    def count_masks(targets: Sequence[InstanceData], device: torch.device) -> Tensor:
        """Mean number of segments per process, at least one: the divisor of the mask losses."""
        count = torch.tensor(float(sum(len(target.labels) for target in targets)), device=device)
        all_reduce(count, op='mean')
        return count.clamp_min(1.0)

    def layer_losses(
        self,
        prediction: LayerPrediction,
        targets: Sequence[InstanceData],
        matches: Sequence[Match],
        num_masks: Tensor | float,
    ) -> dict[str, Tensor]:
        """Losses of one layer without their weights.

        Args:
            prediction: Of the layer.
            targets: Segments of each picture, see :meth:`prepare`.
            matches: Queries and segments of each picture.
            num_masks: Divisor of the mask losses.
        """
        device = prediction.class_logits.device
        pictures = torch.cat([torch.full_like(queries, n) for n, (queries, _) in enumerate(matches)]).to(device)
        queries = torch.cat([queries for queries, _ in matches]).to(device)
        pairs = [(target, segments.to(device)) for target, (_, segments) in zip(targets, matches, strict=True)]
        labels = torch.cat([target.labels[segments] for target, segments in pairs])
        segments = [(target.masks, chosen) for target, chosen in pairs]
        with full_precision(device.type):
            losses = {'loss_ce': self.class_loss(prediction.class_logits.float(), pictures, queries, labels)}
            chosen = [chosen.to(device) for chosen, _ in matches]
            found = _losses_of_masks(self, prediction.without_masks(), chosen, segments, num_masks)
            losses['loss_mask'], losses['loss_dice'] = found
        return losses

    def class_loss(self, logits: Tensor, pictures: Tensor, queries: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy with a lower weight for the void class, divided by the sum of the weights.

        Args:
            logits: Of all queries.
            pictures: Picture of each match.
            queries: Query of each match.
            labels: Class of each match.

        Shape:
            - logits: :math:`(N, Q, K + 1)`; pictures, queries, labels: :math:`(M)`
        """
        void = logits.shape[-1] - 1
        wanted = torch.full(logits.shape[:2], void, dtype=torch.long, device=logits.device)
        wanted[pictures, queries] = labels.long()
        weight = torch.ones_like(logits[0, 0])
        weight[void] = self.void_weight
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight)

    def mask_losses(
        self, logits: Tensor, segments: Sequence[Segments], num_masks: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Binary cross entropy and dice loss at sampled points; zeros, connected to the logits, without any mask.

        Args:
            logits: Predicted masks, those of one picture after those of another.
            segments: Of each picture all masks, in any size, and which of them the predicted ones should be.
            num_masks: Divisor.

        Shape:
            - logits: :math:`(M, h, w)`; segments: :math:`(n, H, W)` and :math:`(M_n)` each, M of them in all
        """
        if logits.shape[0] == 0:
            nothing = logits.sum()
            return nothing, nothing.clone()
        with torch.no_grad():
            points = self.sample_points(logits)
            true = sample_segments(segments, points)
        predicted = point_sample(logits[:, None], points)[:, 0]
        cross_entropy = F.binary_cross_entropy_with_logits(predicted, true, reduction='none').mean(dim=1)
        probability = predicted.sigmoid()
        overlap, area = 2 * (probability * true).sum(dim=1), probability.sum(dim=1) + true.sum(dim=1)
        dice = 1 - (overlap + 1) / (area + 1)
        return cross_entropy.sum() / num_masks, dice.sum() / num_masks

    def sample_points(self, logits: Tensor) -> Tensor:
        """Where to compare each mask, ``(x, y)`` in units of the picture: the least sure points, then random ones.

        Source: PointRend (Kirillov et al., CVPR 2020), section 3.1, training.

        Shape:
            - logits: :math:`(M, h, w)`; result: :math:`(M, P, 2)`
        """
        # The labels would choose a channel; masks have a single one.
        labels = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
        return get_uncertain_point_coords_with_randomness(
            logits[:, None], labels, self.num_points, self.oversample_ratio, self.importance_sample_ratio
        )


@region
def _losses_of_masks(
    criterion: MaskCriterion,
    prediction: LayerPrediction,
    queries: Sequence[Tensor],
    segments: Sequence[Segments],
    num_masks: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """Losses of the masks of matched queries: a function of few tensors, which may forget all that lies between."""
    return criterion.mask_losses(prediction.matched(queries).float(), segments, num_masks)


def sample_segments(segments: Sequence[Segments], points: Tensor) -> Tensor:
    """True masks at points; a few are copied at a time, for in full size all of them are many.

    Args:
        segments: See :meth:`MaskCriterion.mask_losses`.
        points: ``(x, y)`` in units of the picture.

    Shape:
        - points: :math:`(M, P, 2)`; result: :math:`(M, P)`
    """
    parts, start = [], 0
    for masks, rows in segments:
        for some in rows.split(max(_COPIED // max(masks.shape[-2] * masks.shape[-1], 1), 1)):
            stop = start + len(some)
            if start < stop:
                parts.append(point_sample(masks[some][:, None], points[start:stop])[:, 0])
            start = stop
    return torch.cat(parts)
