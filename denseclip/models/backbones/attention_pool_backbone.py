"""DenseCLIP over any trunk: a new attention pool maps the last stage into the text space (DenseCLIP, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from denseclip.clip.towers import attention_pool
from denseclip.models.builder import build_module

from .base import Embedding, ImageBackbone


@MODELS.register_module()
class AttentionPoolBackbone(ImageBackbone):
    """A trunk followed by a randomly initialised CLIP attention pool over all positions of its last stage.

    Args:
        trunk: config or module that returns a sequence of stage features.
        in_channels: channels of the trunk's last stage; default is the trunk's own ``out_channels[-1]``.
        embed_dim: dimension E of the text space.
        num_heads: attention heads; must divide ``in_channels``.
        spatial_size: side of the learned position grid, in cells of the last stage (training size / stride).
        pos_resize: ``'bilinear'`` resizes the grid to the feature map, ``'crop'`` takes its top-left part.
    """

    trunk: Any

    def __init__(
        self,
        trunk: Mapping[str, Any] | nn.Module,
        embed_dim: int,
        in_channels: int | None = None,
        num_heads: int = 32,
        spatial_size: int = 16,
        pos_resize: str = 'bilinear',
    ) -> None:
        super().__init__()
        self.trunk = build_module(trunk)
        channels = in_channels or getattr(self.trunk, 'out_channels', (None,))[-1]
        if channels is None:
            raise ValueError('AttentionPoolBackbone needs in_channels: its trunk does not say its out_channels.')
        if channels % num_heads:
            raise ValueError(f'AttentionPoolBackbone: num_heads={num_heads} does not divide in_channels={channels}.')
        self.attnpool = AttentionPool2d(spatial_size, channels, num_heads, embed_dim)
        self.pos_resize = pos_resize
        self.preprocess = getattr(self.trunk, 'preprocess', None)
        self.out_channels = getattr(self.trunk, 'out_channels', None)
        for projection in (self.attnpool.q_proj, self.attnpool.k_proj, self.attnpool.v_proj, self.attnpool.c_proj):
            nn.init.normal_(projection.weight, std=channels**-0.5)
            nn.init.zeros_(projection.bias)

    def init_weights(self) -> None:
        """Initialise the trunk; the attention pool keeps CLIP's random initialisation."""
        if not self.is_init and hasattr(self.trunk, 'init_weights'):
            self.trunk.init_weights()
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor | Embedding, ...]:
        """Return the trunk's stages, then ``(pooled (N, E), dense (N, E, h, w))`` of the last one."""
        stages = tuple(self.trunk(x))
        return *stages, attention_pool(self.attnpool, stages[-1], pos_resize=self.pos_resize)
