"""From the maps of a backbone to one map at stride 4 that masks are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import PixelDecoder
from mmengine.model import caffe2_xavier_init
from torch import Tensor, nn

from ..mask2former.positions import sine_positions
from ..mask_head import PixelFeatures
from .transformer import Encoder, Transformer, to_tokens

_GROUP_NORM = dict(type='GN', num_groups=32)


class PyramidPixelDecoder(PixelDecoder):
    """MMDet's pyramid of 3x3 convolutions with nearest-neighbour upsampling, the last map of the backbone as memory.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        feat_channels: Channels inside.
        out_channels: Channels of the mask features.
        norm_cfg: Norm of the convolutions; None: group norm of 32 groups.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int = 256,
        out_channels: int = 256,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        norm = dict(norm_cfg or _GROUP_NORM)
        super().__init__(list(in_channels), feat_channels, out_channels, norm_cfg=norm)

    def init_weights(self) -> None:
        """He-uniform matrices as in detectron2, biases 0 (MMDet's method leaves out the last level)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                caffe2_xavier_init(module, bias=0)

    def forward(self, stages: Sequence[Tensor]) -> PixelFeatures:  # type: ignore[override]
        """Decode.

        Args:
            stages: Maps of the backbone, finest first.

        Shape:
            - mask features: :math:`(N, C', h_0, w_0)` of the finest map; memory: the coarsest map
        """
        return PixelFeatures(self._pyramid(stages[:-1], self.last_feat_conv(stages[-1])), (stages[-1],))

    def _pyramid(self, finer: Sequence[Tensor], top: Tensor) -> Tensor:
        """Mask features from the finer maps and what was made of the coarsest one."""
        for stage, lateral, output in reversed(list(zip(finer, self.lateral_convs, self.output_convs, strict=True))):
            beside = lateral(stage)
            top = output(beside + F.interpolate(top, size=beside.shape[-2:], mode='nearest'))
        return self.mask_feature(top)


class EncoderPixelDecoder(PyramidPixelDecoder):
    """The pyramid on top of a transformer encoder over the coarsest map; the encoder's output is the memory.

    Padding takes part in the attention like everything else, as in OVSeg and MaskFormer's own code.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        feat_channels: Channels inside, and of the memory.
        out_channels: Channels of the mask features.
        num_layers: Encoder layers.
        num_heads: Attention heads.
        ffn_dim: Width inside of the feed-forward networks.
        dropout: Dropout of the encoder.
        pre_norm: Normalise before the parts of a layer.
        norm_cfg: Norm of the convolutions; None: group norm of 32 groups.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int = 256,
        out_channels: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(in_channels, feat_channels, out_channels, norm_cfg)
        self.input_proj = nn.Conv2d(in_channels[-1], feat_channels, kernel_size=1)
        self.transformer = Transformer(Encoder(num_layers, feat_channels, num_heads, ffn_dim, dropout, pre_norm))
        self.last_feat_conv = ConvModule(
            feat_channels, feat_channels, kernel_size=3, padding=1, bias=False, norm_cfg=dict(norm_cfg or _GROUP_NORM)
        )

    def init_weights(self) -> None:
        """As the pyramid, and xavier-uniform matrices in the encoder."""
        super().init_weights()
        self.transformer.init_weights()

    def forward(self, stages: Sequence[Tensor]) -> PixelFeatures:  # type: ignore[override]
        """Decode; see :class:`PyramidPixelDecoder`."""
        coarsest = self.input_proj(stages[-1])
        encoded = self.transformer.encoder(to_tokens(coarsest), to_tokens(sine_positions(coarsest)))
        memory = encoded.transpose(1, 2).unflatten(2, coarsest.shape[-2:])
        return PixelFeatures(self._pyramid(stages[:-1], self.last_feat_conv(memory)), (memory,))
