"""What Mask-Adapter learns from: true masks, predicted masks that fit them, and losses over both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from denseclip.core.precision import full_precision

NO_LABEL = -1
"""Label of a place that no mask fills."""


class DrawnMasks(NamedTuple):
    """As many masks of every picture; places without one have zeros and :data:`NO_LABEL`.

    Attributes:
        masks: bool ``(N, P, H, W)``.
        labels: int64 ``(N, P)``.
    """

    masks: Tensor
    labels: Tensor


class MatchedMasks(NamedTuple):
    """Pairs of a predicted and a true mask, as many places for every picture.

    Attributes:
        predicted: Logits of predicted masks, ``(N, P, h, w)``; zeros where ``labels`` is :data:`NO_LABEL`.
        true: The true ones, resized to them, 0..1.
        labels: int64 ``(N, P)``.
    """

    predicted: Tensor
    true: Tensor
    labels: Tensor


def draw_masks(targets: Sequence[InstanceData], count: int) -> DrawnMasks:
    """True masks of each picture, drawn at random where there are more than places. Masks without a pixel are left out.

    Args:
        targets: ``labels`` (S) and ``masks`` (S, H, W) of each picture; all masks of one size.
        count: Places per picture.
    """
    masks, labels = [], []
    for target in targets:
        usable = target.masks.flatten(1).any(dim=1)
        mask, label = _places(usable, count, target.masks, target.labels)
        masks.append(mask)
        labels.append(label)
    return DrawnMasks(torch.stack(masks), torch.stack(labels))


def binary_iou(predicted: Tensor, true: Tensor) -> Tensor:
    """IoU of all pairs of binary masks; 0 for two without a pixel.

    Shape:
        - predicted: :math:`(Q, h, w)`; true: :math:`(S, h, w)`, both bool; result: :math:`(Q, S)`
    """
    first, second = (masks.flatten(1).to(torch.float32) for masks in (predicted, true))
    with full_precision(first.device.type):
        both = first @ second.T
    union = first.sum(dim=1, keepdim=True) + second.sum(dim=1) - both
    return both / (union + 1e-6)


@torch.no_grad()
def match_by_iou(
    mask_logits: Tensor,
    targets: Sequence[InstanceData],
    count: int,
    iou_threshold: float = 0.7,
    mask_threshold: float = 0.5,
) -> MatchedMasks:
    """A predicted mask for every true one that some fit, drawn at random among those that do.

    Unlike Hungarian matching, which gives every segment some mask, however bad, only pairs that overlap well remain.

    Source: Mask-Adapter (Li et al., CVPR 2025), section 3.3.

    Args:
        mask_logits: Predicted masks.
        targets: ``labels`` (S) and ``masks`` (S, H, W) of each picture.
        count: Places per picture; of more pairs some are drawn.
        iou_threshold: IoU above which a mask fits, 0..1.
        mask_threshold: Probability from which on a pixel belongs to a predicted mask, 0..1.

    Shape:
        - mask_logits: :math:`(N, Q, h, w)`
    """
    predicted, true, labels = [], [], []
    for logits, target in zip(mask_logits.float(), targets, strict=True):
        resized = F.interpolate(target.masks[:, None].float(), size=logits.shape[-2:], mode='bilinear')[:, 0]
        fits = binary_iou(logits.sigmoid() >= mask_threshold, resized > 0.5) > iou_threshold
        chosen = (torch.rand_like(fits, dtype=torch.float32) + fits).argmax(dim=0)
        pair, label = _places(fits.any(dim=0), count, torch.stack([logits[chosen], resized], dim=1), target.labels)
        predicted.append(pair[:, 0])
        true.append(pair[:, 1])
        labels.append(label)
    return MatchedMasks(torch.stack(predicted), torch.stack(true), torch.stack(labels))


def _places(usable: Tensor, count: int, values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Some usable rows of values and labels, filled up to a number of places; sizes do not depend on values."""
    order = (torch.rand_like(usable, dtype=torch.float32) + ~usable).argsort()[:count]
    keep = usable[order]
    values = values[order] * keep.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    missing = count - values.shape[0]
    labels = torch.where(keep, labels[order].long(), NO_LABEL)
    return F.pad(values, [0, 0] * (values.ndim - 1) + [0, missing]), F.pad(labels, [0, missing], value=NO_LABEL)


def labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the masks with a label; zero, connected to the logits, without any.

    Shape:
        - logits: :math:`(N, P, K + 1)`, "void" last; labels: :math:`(N, P)`
    """
    with full_precision(logits.device.type):
        total = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL, reduction='sum')
        return total / (labels != NO_LABEL).sum().clamp_min(1)


def consistency_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """One minus the mean cosine of the embeddings of predicted masks and of the true ones that they fit.

    Places without a pair have the same embedding on both sides and count as agreed, as in the authors' code.

    Source: Mask-Adapter (Li et al., CVPR 2025), section 3.3.

    Shape:
        - predicted, true: :math:`(N, P, E)`
    """
    with full_precision(predicted.device.type):
        return 1 - F.cosine_similarity(predicted.float(), true.float(), dim=-1).mean()
