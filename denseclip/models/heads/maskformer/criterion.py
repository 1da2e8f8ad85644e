"""MaskFormer's losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.losses import DiceLoss
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from ..mask_head import LayerPrediction
from .matcher import Match, WholeMaskMatcher


class MaskFormerCriterion(nn.Module):
    """Cross-entropy of the classes, focal and dice loss of the matched masks, after every layer of the decoder.

    Source: MaskFormer (Cheng et al., NeurIPS 2021), equation 1 and section 4.1. Pixels that belong to no target, the
    ignored ones among them, are background of every mask, as in MaskFormer's code.

    Args:
        class_weight: Weight of the cross-entropy.
        mask_weight: Weight of the focal loss.
        dice_weight: Weight of the dice loss.
        no_object_weight: Weight of "no object" among the classes of the cross-entropy.
        focal_alpha: Weight of foreground pixels, the background's is ``1 - alpha``.
        focal_gamma: Focus on wrong pixels.
        matcher: Assigns targets to queries; its costs follow the losses' weights by default.
    """

    def __init__(
        self,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        matcher: WholeMaskMatcher | None = None,
    ) -> None:
        super().__init__()
        self.weights = {'loss_ce': class_weight, 'loss_mask': mask_weight, 'loss_dice': dice_weight}
        self.no_object_weight = no_object_weight
        self.focal_alpha, self.focal_gamma = focal_alpha, focal_gamma
        self.matcher = matcher or WholeMaskMatcher(class_weight, mask_weight, dice_weight)
        self.dice = DiceLoss(naive_dice=True, eps=1.0)

    def forward(self, layers: Sequence[LayerPrediction], targets: Sequence[InstanceData]) -> dict[str, Tensor]:
        """Weighted losses of all layers.

        Args:
            layers: Predictions, last layer last.
            targets: Per picture ``labels`` (n,) in 0..K-1 and binary ``masks`` (n, H, W) of one common size.

        Returns:
            ``loss_ce``, ``loss_mask`` and ``loss_dice`` of the last layer, the others' with ``_0``, ``_1`` ... .
        """
        matches = self.matcher(
            torch.stack([layer.class_logits for layer in layers]),
            torch.stack([layer.mask_logits for layer in layers]),
            targets,
        )
        # Averaged over processes and at least 1, so that batches without any target train the classes alone.
        # Not in the logits' type: half precision cannot count that far.
        number = float(sum(len(target.labels) for target in targets))
        count = torch.tensor(number, dtype=torch.float, device=layers[0].mask_logits.device)
        count = reduce_mean(count).clamp_min(1.0)
        losses = {}
        for place, (layer, match) in enumerate(zip(layers, matches, strict=True)):
            suffix = '' if place == len(layers) - 1 else f'_{place}'
            for name, value in self.layer_losses(layer, targets, match, count).items():
                losses[name + suffix] = self.weights[name] * value
        return losses

    def layer_losses(
        self, layer: LayerPrediction, targets: Sequence[InstanceData], matches: Sequence[Match], count: Tensor
    ) -> dict[str, Tensor]:
        """Losses of one layer without their weights.

        Args:
            layer: Prediction.
            targets: Of each picture.
            matches: Of each picture.
            count: What sums over masks are divided by.
        """
        logits, device = layer.class_logits, layer.mask_logits.device
        pairs = [(queries.to(device), segments.to(device)) for queries, segments in matches]
        sizes = torch.tensor([len(queries) for queries, _ in matches], device=device)
        pictures = torch.arange(len(matches), device=device).repeat_interleave(
            sizes, output_size=sum(len(queries) for queries, _ in matches)
        )
        place = (pictures, torch.cat([queries for queries, _ in pairs]))
        known = [target.labels[segments] for target, (_, segments) in zip(targets, pairs, strict=True)]
        labels = torch.full(logits.shape[:2], logits.shape[-1] - 1, device=device).index_put(place, torch.cat(known))
        true = torch.cat([target.masks[segments] for target, (_, segments) in zip(targets, pairs, strict=True)])
        predicted = layer.mask_logits[place]
        return {'loss_ce': self._class_loss(logits, labels), **self._mask_losses(predicted, true, count)}

    def _class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted mean over all queries of the batch."""
        weight = logits.new_ones(logits.shape[-1], dtype=torch.float)
        weight[-1] = self.no_object_weight
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), weight)

    def _mask_losses(self, predicted: Tensor, true: Tensor, count: Tensor) -> dict[str, Tensor]:
        """Focal loss (mean over pixels) and dice loss of matched masks, summed and divided by their number."""
        if not predicted.shape[0]:  # still a path for the gradient, so that all processes reduce the same parameters
            return {'loss_mask': predicted.sum(), 'loss_dice': predicted.sum()}
        predicted = F.interpolate(predicted[:, None].float(), size=true.shape[-2:], mode='bilinear')[:, 0]
        true = true.to(predicted.dtype)
        focal = sigmoid_focal_loss(predicted, true, self.focal_alpha, self.focal_gamma).flatten(1).mean(1).sum()
        dice = self.dice(predicted, true, reduction_override='none').sum()
        return {'loss_mask': focal / count, 'loss_dice': dice / count}
