"""The loss of MMSeg's heads, at the size of the labels, without what takes long beside it on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from denseclip.core.placement import size_of
from denseclip.core.precision import full_precision
from denseclip.core.values import has_values
from denseclip.models.functional.enlarged_cross_entropy import enlarged_cross_entropy
from denseclip.models.functional.product_resize import product_resize
from denseclip.models.losses.class_balanced import ClassBalancedCrossEntropyLoss


class LabelSizeLoss:
    """Mix-in for MMSeg's ``BaseDecodeHead``: the same losses and accuracy, logits enlarged by matrix products."""

    loss_decode: Any
    sampler: Any
    ignore_index: int
    align_corners: bool

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            seg_logits: Of the head.
            batch_data_samples: With ``gt_sem_seg``.

        Returns:
            The losses by their names, and ``acc_seg``: percent of the labelled pixels that are right.

        Shape:
            - seg_logits: :math:`(N, K, h, w)`
        """
        if self.align_corners or self.sampler is not None:
            return super().loss_by_feat(seg_logits, batch_data_samples)  # type: ignore[misc]
        labels: Tensor = self._stack_batch_gt(batch_data_samples)  # type: ignore[attr-defined]
        several = isinstance(self.loss_decode, nn.ModuleList)
        losses: Sequence[Any] = self.loss_decode if several else [self.loss_decode]  # type: ignore[assignment]
        if len(losses) == 1 and _takes_gradients(seg_logits):
            if isinstance(losses[0], ClassBalancedCrossEntropyLoss):
                return _balanced_by_rows(losses[0], seg_logits, labels.squeeze(1), self.ignore_index)
            if _is_plain(losses[0]):
                return _by_rows(losses[0], seg_logits, labels.squeeze(1), self.ignore_index)
        logits = product_resize(seg_logits, size_of(labels))
        labels = labels.squeeze(1)
        found: dict[str, Tensor] = {}
        for loss in losses:
            value = loss(logits, labels, weight=None, ignore_index=self.ignore_index)
            found[loss.loss_name] = found[loss.loss_name] + value if loss.loss_name in found else value
        found['acc_seg'] = pixel_accuracy(logits.detach(), labels, self.ignore_index)
        return found


def _is_plain(loss: Any) -> bool:
    """Whether a loss is the mean cross entropy of classes that all weigh the same."""
    if type(loss) is not CrossEntropyLoss or loss.use_sigmoid or loss.use_mask:
        return False
    return loss.class_weight is None and loss.reduction == 'mean'


def _takes_gradients(logits: Tensor) -> bool:
    real = has_values(logits) and not torch.compiler.is_compiling()
    return logits.requires_grad and logits.dtype != torch.float64 and real


def _by_rows(loss: CrossEntropyLoss, logits: Tensor, labels: Tensor, ignore_index: int) -> dict[str, Tensor]:
    """As :meth:`LabelSizeLoss.loss_by_feat`, without logits at the size of the labels."""
    total, right = _summed(logits, labels, ignore_index)
    known = (labels != ignore_index).sum()
    # as MMSeg's, which divides by nearly nothing where no pixel counts
    count = known if loss.avg_non_ignore else labels.numel()
    value = loss.loss_weight * total / (count + torch.finfo(torch.float32).eps)
    return {loss.loss_name: value, 'acc_seg': _percent(right, known)}


def _balanced_by_rows(
    loss: ClassBalancedCrossEntropyLoss, logits: Tensor, labels: Tensor, ignore_index: int
) -> dict[str, Tensor]:
    """The same for classes of different weights."""
    loss.require_classes(logits.shape[1])
    total, right = _summed(logits, labels, ignore_index, loss.class_weight)
    counts = torch.bincount(labels[labels != ignore_index], minlength=logits.shape[1])
    weights = (counts * loss.class_weight).sum()
    value = loss.loss_weight * total / weights.clamp_min(torch.finfo(torch.float32).eps)
    return {loss.loss_name: value, 'acc_seg': _percent(right, counts.sum())}


def _summed(logits: Tensor, labels: Tensor, ignore_index: int, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    with full_precision(logits.device.type):  # products of matrices would be taken in fewer bits
        return enlarged_cross_entropy(logits.float(), labels, ignore_index, weight)


def _percent(right: Tensor, known: Tensor) -> Tensor:
    return (100.0 * right / known.clamp_min(1)).to(torch.float32).view(1)


def pixel_accuracy(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Percent of the labelled pixels whose highest logit is that of their class; 0 where no pixel is labelled.

    Shape:
        - logits: :math:`(N, K, H, W)`; labels: :math:`(N, H, W)`; result: :math:`(1,)`
    """
    known = labels != ignore_index
    # argmax along the channels takes PyTorch six times as long as the maximum
    own = logits.gather(1, labels.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
    right = (own >= logits.amax(dim=1)) & known
    return (100.0 * right.sum() / known.sum().clamp_min(1)).to(torch.float32).view(1)
