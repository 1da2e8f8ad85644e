"""Mask-Adapter: where to look in CLIP's map to tell what a mask is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from timm.layers import LayerNorm2d
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

MASK_STRIDE = 4
"""Masks are taken at so many times the resolution of CLIP's map."""

WIDENING = 4
"""Width of a block within, in units of its channels."""

DEFAULT_BUDGET = 256 * 2**20
"""Bytes of the widest activation of one chunk of masks."""


@MODELS.register_module()
class MaskAdapter(BaseModule):
    """Semantic activation maps of masks: a few weights over CLIP's pixels for each.

    Pixel embeddings and a mask, encoded by two strided convolutions, are added, and three ConvNeXt blocks make maps
    of them. CLIP's features are averaged by each map in turn, embedded, and the embeddings averaged. Where mean pooling
    under a mask sees the mask's pixels alone, the maps may leave out some of them and look at the surroundings.

    Pixels pass through the first 1x1 convolution once per picture, not once per mask: with the last convolution of
    the mask's encoder it is one linear map, and a sum of both.

    Source: Mask-Adapter (Li et al., CVPR 2025), section 3.2.

    Args:
        embed_dim: Size of the joint space.
        channels: Width of the blocks.
        mask_channels: Width of the mask's encoder.
        num_maps: Maps per mask.
        mask_threshold: Probability from which on a pixel belongs to a predicted mask, 0..1.
        budget: Bytes that the widest activation of a chunk of masks may take where no gradient is asked for.
        init_cfg: MMEngine initialisation config.
    """

    def __init__(
        self,
        embed_dim: int,
        channels: int = 768,
        mask_channels: int = 16,
        num_maps: int = 16,
        mask_threshold: float = 0.5,
        budget: int = DEFAULT_BUDGET,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 < mask_threshold < 1:
            raise ValueError(f'mask_threshold={mask_threshold} must be between 0 and 1.')
        if mask_channels < 8 or mask_channels % 4:
            raise ValueError(
                f'mask_channels={mask_channels} must be a multiple of 4, and 8 or more: a quarter of them is '
                'normalised pixel by pixel, and a single one would be the same everywhere.'
            )
        self.num_maps, self.mask_threshold, self.budget = num_maps, mask_threshold, budget
        narrow = mask_channels // 4
        self.mask_encoder = nn.Sequential(
            nn.Conv2d(1, narrow, 3, stride=2, padding=1),
            LayerNorm2d(narrow),
            nn.GELU(),
            nn.Conv2d(narrow, mask_channels, 3, stride=2, padding=1),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, 1),
        )
        self.fuse = nn.Conv2d(embed_dim, channels, 1)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels, ls_init_value=1e-6) for _ in range(3)))
        self.norm = nn.LayerNorm(channels)
        self.to_maps = nn.Conv2d(channels, num_maps, 1)

    def binary(self, mask_logits: Tensor) -> Tensor:
        """Predicted masks as zeros and ones, without gradient."""
        return (mask_logits.detach().sigmoid() > self.mask_threshold).to(mask_logits.dtype)

    @staticmethod
    def at_size(pixels: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Masks of any resolutions (N, Q_i, H_i, W_i), one after the other, at the one that the encoder takes."""
        size = [MASK_STRIDE * side for side in pixels.shape[-2:]]
        planes = [m.to(pixels.dtype).flatten(0, 1)[:, None] for m in masks]  # the channel must exist
        resized = [F.interpolate(plane, size=size, mode='bilinear', align_corners=False) for plane in planes]
        return torch.cat([r.unflatten(0, m.shape[:2])[:, :, 0] for r, m in zip(resized, masks, strict=True)], dim=1)

    def forward(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Maps of masks, before the sigmoid.

        Args:
            pixels: Pixel embeddings of pictures, not normalised.
            masks: Masks with values in 0..1, of any resolution.

        Shape:
            - pixels: :math:`(N, D, h, w)`; masks: :math:`(N, Q, H, W)`; result: :math:`(N, Q, M, h, w)`
        """
        return self.maps(pixels, self.at_size(pixels, [masks]))

    def maps(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """The same of masks (N, Q, 4h, 4w) that :meth:`at_size` has made."""
        base = self.fuse(pixels)
        weight, bias = self._mask_weights()
        parts = masks.split(self._chunk(base, masks.shape[1]), dim=1)
        return torch.cat([self._maps(base, part, weight, bias) for part in parts], dim=1)

    def _mask_weights(self) -> tuple[Tensor, Tensor]:
        """The encoder's last convolution and the fusing one as a single one of masks alone."""
        last: nn.Conv2d = self.mask_encoder[-1]  # type: ignore[assignment]
        fuse = self.fuse.weight.flatten(1)
        assert last.bias is not None
        return (fuse @ last.weight.flatten(1))[:, :, None, None], fuse @ last.bias

    def _maps(self, base: Tensor, masks: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Maps of masks (N, Q, 4h, 4w) over fused pixels (N, C, h, w)."""
        batch, count = masks.shape[:2]
        encoded = self.mask_encoder[:-1](masks.flatten(0, 1)[:, None])
        encoded = F.conv2d(encoded, weight, bias).unflatten(0, (batch, count))
        x = self.blocks((base[:, None] + encoded).flatten(0, 1))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.to_maps(x).unflatten(0, (batch, count))

    def _chunk(self, base: Tensor, count: int) -> int:
        """Masks that run at once; all of them where chunks save nothing."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not count:
            return max(1, count)
        widest = base.numel() * WIDENING * base.element_size()
        return min(count, max(1, self.budget // max(1, widest)))
