"""MaskCLIP+'s student head: DeepLabv2's ASPP whose classifier is the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn


@MODELS.register_module()
class MaskCLIPPlusHead(BaseDecodeHead):
    """Sum of dilated 3x3 convolutions into CLIP's joint space, classified by unit-length class embeddings.

    Source: MaskCLIP (Zhou et al., ECCV 2022), section 3.4: the student's classifier is CLIP's, features are not
    normalised.

    Args:
        embed_dim: Dimension E of the class embeddings.
        dilations: Of the parallel convolutions.
        num_classes: Accepted for config compatibility; the text decides.
        kwargs: Arguments of MMSeg's ``BaseDecodeHead``.
    """

    open_vocabulary = True

    def __init__(
        self,
        embed_dim: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        settings = {'dropout_ratio': 0.0, 'init_cfg': None, **kwargs}
        super().__init__(num_classes=num_classes or 2, out_channels=num_classes or 2, channels=embed_dim, **settings)
        self.conv_seg = nn.Identity()  # the text classifies
        self.aspp_modules = ASPPModule(
            tuple(dilations),
            self.in_channels,
            self.channels,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def features(self, levels: Sequence[Tensor]) -> Tensor:
        """Features in the joint space, not normalised, (N, E, h, w), of the backbone's levels."""
        return torch.stack(self.aspp_modules(self._transform_inputs(levels))).sum(dim=0)

    def classify(self, features: Tensor, text: Tensor) -> Tensor:
        """Logits of features.

        Shape:
            - features: :math:`(N, E, h, w)`; text: :math:`(K, E)`; result: :math:`(N, K, h, w)`
        """
        if text.ndim != 2 or text.shape[1] != self.channels:
            raise ValueError(
                f'MaskCLIPPlusHead expects class embeddings (K, {self.channels}), got {tuple(text.shape)}: set '
                'embed_dim to the size of the joint space of the CLIP model.'
            )
        if self.dropout is not None:
            features = self.dropout(features)
        return torch.einsum('nehw,ke->nkhw', features, text.to(features.dtype))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify each pixel.

        Args:
            inputs: class embeddings (K, E), then the backbone's levels.

        Returns:
            Logits, (N, K, h, w).
        """
        text, *levels = inputs
        return self.classify(self.features(levels), text)
