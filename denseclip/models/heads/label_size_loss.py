"""The loss of MMSeg's heads, at the size of the labels, without what takes long beside it on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.core.placement import size_of
from denseclip.models.functional.product_resize import product_resize


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
        logits = product_resize(seg_logits, size_of(labels))
        labels = labels.squeeze(1)
        found: dict[str, Tensor] = {}
        several = isinstance(self.loss_decode, nn.ModuleList)
        losses: Sequence[Any] = self.loss_decode if several else [self.loss_decode]  # type: ignore[assignment]
        for loss in losses:
            value = loss(logits, labels, weight=None, ignore_index=self.ignore_index)
            found[loss.loss_name] = found[loss.loss_name] + value if loss.loss_name in found else value
        found['acc_seg'] = pixel_accuracy(logits.detach(), labels, self.ignore_index)
        return found


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
