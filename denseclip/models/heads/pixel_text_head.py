"""Open-vocabulary Semantic FPN: the classifier's weights are the class texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.decode_heads.fpn_head import FPNHead
from mmseg.models.utils import Upsample, resize
from torch import Tensor, nn

from denseclip.core.placement import size_of
from denseclip.models.folded import Folding
from denseclip.models.functional.matching import projected_cosine, unit_cosine, unit_pixels
from denseclip.models.functional.product_resize import ProductUpsample, add_enlarged

from .label_size_loss import LabelSizeLoss


@MODELS.register_module()
class PixelTextFPNHead(LabelSizeLoss, FPNHead):
    """Semantic FPN whose last layer is the cosine between projected pixels and class texts, divided by ``tau``.

    The head knows no class: it projects pixel features into the text tower's space and compares them there, so any
    vocabulary works at any time. ``DenseCLIP(text_head=...)`` puts the text embeddings before the feature levels.

    Args:
        embed_dim: dimension E of the text embeddings.
        tau: temperature of the logits.
        learnable_tau: learn ``log(1 / tau)``, starting from ``tau`` and kept at or above 0.01 as CLIP does.
        detach_text: let no gradient of this head reach the text side.
        num_classes: accepted for config compatibility; the text decides.
        kwargs: arguments of MMSeg's ``FPNHead``.
    """

    open_vocabulary = True

    def __init__(
        self,
        embed_dim: int,
        tau: float = 0.07,
        learnable_tau: bool = False,
        detach_text: bool = False,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        if tau <= 0:
            raise ValueError(f'PixelTextFPNHead needs tau > 0, got {tau}.')
        kwargs.setdefault('init_cfg', dict(type='Normal', std=0.01, override=dict(name='conv_seg')))
        super().__init__(num_classes=num_classes or 2, out_channels=num_classes or 2, **kwargs)
        self.conv_seg = nn.Conv2d(self.channels, embed_dim, kernel_size=1)
        for scale_head in self.scale_heads:
            for index, layer in enumerate(scale_head):
                if isinstance(layer, Upsample):
                    scale_head[index] = ProductUpsample.like(layer)
        self._folding = Folding(self.scale_heads)
        self.detach_text = detach_text
        self.embed_dim = embed_dim
        log_scale = torch.tensor(-math.log(tau))
        if learnable_tau:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer('log_scale', log_scale)

    def pixel_features(self, levels: Sequence[Tensor]) -> Tensor:
        """Sum the pyramid levels at the finest stride; returns (N, channels, h, w)."""
        x = self._transform_inputs(levels)
        first, *others = self._folding.of(self.scale_heads, x[0])
        output = first(x[0])
        smaller = []
        for level, scale_head in zip(x[1:], others, strict=True):
            if self.align_corners:
                maps = resize(scale_head(level), size=output.shape[2:], mode='bilinear', align_corners=True)
                output = output + maps
                continue
            *layers, last = scale_head
            enlarges = isinstance(last, ProductUpsample)
            for layer in layers if enlarges else scale_head:
                level = layer(level)
            smaller.append((level, last.size_for(level) if enlarges else size_of(level)))
        return add_enlarged(output, smaller)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify each pixel.

        Args:
            inputs: text embeddings (N or 1, K, E), then the pyramid levels.

        Returns:
            Logits, (N, K, h, w).
        """
        text, *levels = inputs
        if text.ndim != 3 or text.shape[-1] != self.embed_dim:
            raise ValueError(
                f'PixelTextFPNHead expects text embeddings (N, K, {self.embed_dim}) as its first input, got '
                f'{tuple(text.shape)}: set text_head=True (or "raw") on DenseCLIP and embed_dim to the text tower\'s.'
            )
        if self.detach_text:
            text = text.detach()
        return projected_cosine(self._features(levels), *self._projection, text) * self.scale

    def unit_pixels(self, levels: Sequence[Tensor]) -> Tensor:
        """What :meth:`compare` takes, (N, channels + 1, h, w): once for however many texts."""
        return unit_pixels(self._features(levels), *self._projection)

    def _features(self, levels: Sequence[Tensor]) -> Tensor:
        features = self.pixel_features(levels)
        return features if self.dropout is None else self.dropout(features)

    def compare(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Logits of :meth:`unit_pixels`.

        Args:
            pixels: (N, channels + 1, h, w).
            text: Text embeddings, (N or 1, K, E).

        Returns:
            (N, K, h, w).
        """
        return unit_cosine(pixels, *self._projection, text) * self.scale

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings in the text tower's space of :meth:`unit_pixels`, of length one, (N, E, h, w)."""
        weight, bias = self._projection
        return torch.einsum('nchw,ec->nehw', pixels, torch.cat([weight, bias.unsqueeze(1)], dim=1))

    def rows(self, text: Tensor) -> Tensor:
        """Rows whose products with :meth:`unit_pixels` are the logits, (N or 1, K, channels + 1).

        Args:
            text: Text embeddings, (N or 1, K, E).
        """
        weight, bias = self._projection
        return F.normalize(text, dim=-1) @ torch.cat([weight, bias.unsqueeze(1)], dim=1) * self.scale

    @property
    def scale(self) -> Tensor:
        """Factor of the cosines between pixels and texts."""
        return self.log_scale.clamp(max=math.log(100.0)).exp()

    @property
    def _projection(self) -> tuple[Tensor, Tensor]:
        assert self.conv_seg.bias is not None
        return self.conv_seg.weight.flatten(1), self.conv_seg.bias
