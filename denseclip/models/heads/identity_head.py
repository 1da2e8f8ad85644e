"""Auxiliary pixel-text loss: the score map itself is supervised (DenseCLIP, section 3.4)."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from .label_size_loss import LabelSizeLoss


@MODELS.register_module()
class IdentityHead(LabelSizeLoss, BaseDecodeHead):
    """Treat ``score map / tau`` as logits; resize to the label and apply the loss. It has no parameters.

    The number of classes is that of the score map. ``in_channels``, ``channels`` and ``num_classes`` of configs written
    for the authors' code are accepted and change nothing.

    Args:
        in_channels: ignored.
        channels: ignored.
        num_classes: ignored.
        kwargs: other arguments of MMSeg's ``BaseDecodeHead`` (``loss_decode``, ``ignore_index`` ...).
    """

    def __init__(self, in_channels: int = 1, channels: int = 1, num_classes: int | None = None, **kwargs: Any) -> None:
        del in_channels, channels, num_classes
        kwargs.setdefault('init_cfg', None)
        kwargs['dropout_ratio'] = 0  # dropping whole class channels of a score map makes no sense
        # Sizes of the base class's classifier, which is removed below; two avoids its advice on binary segmentation.
        super().__init__(1, 1, num_classes=2, out_channels=2, **kwargs)
        del self.conv_seg

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits unchanged, (N, K, h, w)."""
        return inputs
