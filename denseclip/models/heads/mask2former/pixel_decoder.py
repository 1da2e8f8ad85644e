"""Pixel decoder of Mask2Former: deformable attention over three strides, then a pyramid step to stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmengine.model import caffe2_xavier_init, xavier_init
from torch import Tensor, nn

from denseclip.core.precision import full_precision
from denseclip.core.regions import region
from denseclip.models.functional.bilinear_bags import Size
from denseclip.models.functional.deformable_attention import (
    attend_around,
    pixel_centres,
)
from denseclip.models.functional.pointwise import pointwise

from ..mask_head import PixelFeatures
from .positions import sine_positions


class DeformableAttention(MultiScaleDeformableAttention):
    """mmcv's module, its parameters and their initial values, without its residual and without waiting for the device.

    Args:
        dim: Width of queries and values.
        num_heads: Attention heads.
        num_levels: Feature maps that are sampled.
        num_points: Samples of each head in each map.
    """

    def __init__(self, dim: int = 256, num_heads: int = 8, num_levels: int = 3, num_points: int = 4) -> None:
        super().__init__(dim, num_heads, num_levels, num_points, dropout=0.0, batch_first=True)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference: Tensor,
        sizes: Sequence[Size],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: What asks; it decides where to look and with which weight.
            value: Features of all levels, one level after another.
            reference: Points or boxes around which the queries look, per level.
            sizes: Height and width of each level.
            padding_mask: True where a value is padding and counts as zero.

        Shape:
            - query and result: :math:`(N, L, C)`; value: :math:`(N, S, C)`; padding_mask: :math:`(N, S)`
            - reference: :math:`(N, L, levels, 2)` or :math:`(N, L, levels, 4)`; N = 1 serves all pictures
        """
        values = self.value_proj(value)
        if padding_mask is not None:
            values = values.masked_fill(padding_mask[..., None], 0.0)
        split = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*split, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1)).softmax(dim=-1)
        weights = weights.unflatten(-1, (self.num_levels, self.num_points))
        out = attend_around(values.unflatten(-1, (self.num_heads, -1)), sizes, reference, offsets, weights)
        return self.output_proj(out)


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward network; each is residual, then normalised.

    Args:
        dim: Width.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward network.
        num_levels: Feature maps.
        num_points: Samples of each head in each map.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, num_heads, num_levels, num_points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor, positions: Tensor, reference: Tensor, sizes: Sequence[Size]) -> Tensor:
        """One layer over tokens (N, S, C) of all levels; positions (1, S, C), reference (1, S, levels, 2)."""
        x = self.norm1(x + self.self_attn(x + positions, x, reference, sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x), inplace=True)))


class _Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, see :func:`pointwise`."""

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(self, x)


def _projection(in_channels: int, dim: int, kernel_size: int, groups: int, bias: bool) -> nn.Sequential:
    if kernel_size == 1:
        return nn.Sequential(_Pointwise(in_channels, dim, 1, bias=bias), nn.GroupNorm(groups, dim))
    conv = nn.Conv2d(in_channels, dim, kernel_size, padding=kernel_size // 2, bias=bias)
    return nn.Sequential(conv, nn.GroupNorm(groups, dim))


class DeformablePixelDecoder(nn.Module):
    """Backbone maps to memories for the queries and a fine map for the masks.

    Source: Mask2Former (Cheng et al., CVPR 2022), section 3.2, as FC-CLIP uses it. Always in float32, also under
    autocast. Padding is treated as picture.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        dim: Width.
        mask_dim: Channels of the map for the masks.
        num_layers: Deformable attention layers.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks (1024 in all released models).
        num_points: Samples of each head in each map.
        num_levels: How many of the coarsest maps attend; the others are joined by pyramid steps.
        norm_groups: Groups of the group norms.

    Raises:
        ValueError: If there are fewer maps than attending levels.
    """

    prefers_contiguous = True  # see denseclip.engine.compute.layout

    def __init__(
        self,
        in_channels: Sequence[int],
        dim: int = 256,
        mask_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 1024,
        num_points: int = 4,
        num_levels: int = 3,
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        if len(in_channels) < num_levels:
            raise ValueError(f'{num_levels} attending levels need as many maps, in_channels={list(in_channels)}.')
        self.num_levels = num_levels
        coarse_first = list(in_channels)[::-1]
        attending, fine = coarse_first[:num_levels], coarse_first[num_levels:]
        self.input_proj = nn.ModuleList(_projection(c, dim, 1, norm_groups, bias=True) for c in attending)
        self.level_embed = nn.Parameter(torch.randn(num_levels, dim))
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(dim, num_heads, ffn_dim, num_levels, num_points) for _ in range(num_layers)
        )
        self.laterals = nn.ModuleList(_projection(c, dim, 1, norm_groups, bias=False) for c in fine)
        self.outputs = nn.ModuleList(_projection(dim, dim, 3, norm_groups, bias=False) for _ in fine)
        self.mask_features = _Pointwise(dim, mask_dim, kernel_size=1)
        self._init_convolutions()

    def _init_convolutions(self) -> None:
        for projection in self.input_proj:
            xavier_init(projection[0], distribution='uniform')  # type: ignore[index]
        for projection in (*self.laterals, *self.outputs):
            caffe2_xavier_init(projection[0])  # type: ignore[index]
        caffe2_xavier_init(self.mask_features)

    def forward(self, features: Sequence[Tensor]) -> PixelFeatures:
        """Decode.

        Args:
            features: Maps of the backbone, finest first, as many as ``in_channels``.

        Shape:
            - features: :math:`(N, C_i, h_i, w_i)`
        """
        with full_precision(features[0].device.type):
            maps = [feature.float() for feature in reversed(features)]
            memories = self.encode(maps[: self.num_levels])
            return PixelFeatures(_refine(self, memories[-1], maps[self.num_levels :]), tuple(memories))

    def encode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Attend among the coarsest maps, coarsest first; the results keep order and sizes."""
        projected = [projection(x) for projection, x in zip(self.input_proj, maps, strict=True)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in projected]
        positions = [sine_positions(x) for x in projected]
        positions = [p.flatten(2).transpose(1, 2) + e for p, e in zip(positions, self.level_embed, strict=True)]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in projected], dim=1)
        reference = pixel_centres(sizes, tokens)[None, :, None].expand(-1, -1, len(sizes), -1)
        position = torch.cat(positions, dim=1)
        for layer in self.layers:
            tokens = layer(tokens, position, reference, sizes)
        parts = tokens.transpose(1, 2).split([h * w for h, w in sizes], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


@region
def _refine(decoder: DeformablePixelDecoder, finest: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Mask features from the finest memory and the finer maps of the backbone, coarsest first."""
    for lateral, output, skip in zip(decoder.laterals, decoder.outputs, maps, strict=True):
        coarse = F.interpolate(finest, size=skip.shape[-2:], mode='bilinear', align_corners=False)
        finest = F.relu(output(lateral(skip) + coarse), inplace=True)
    return decoder.mask_features(finest)
