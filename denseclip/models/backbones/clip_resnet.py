"""CLIP's modified ResNets as MMSeg backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.towers import DenseReadOut, ResNetTower, build_resnet
from denseclip.models.clip_weights import Pretrained, preprocess_of

from .base import CLIPBackbone, Embedding, FreezesStages, freeze


@MODELS.register_module()
class CLIPResNet(FreezesStages, CLIPBackbone):
    """Four stages at strides 4 to 32 and, with ``with_pixel_text``, embeddings of the picture and of every pixel.

    Args:
        model: open_clip architecture that gives the defaults of the next five, such as ``'RN50'`` or ``'RN101'``.
        layers: blocks per stage.
        width: channels of the stem.
        embed_dim: dimension E of the joint space.
        input_resolution: picture side that the attention pool's position grid is made for (the training crop);
            None is the model's own.
        heads: attention heads of the pool; None is CLIP's rule, width / 2.
        with_pixel_text: False leaves the attention pool out: a plain feature backbone, for the baselines.
        pos_resize: how positions are fitted to the map: ``'bilinear'`` (segmentation), ``'crop'`` (authors' detection).
        frozen_stages: -1 freezes nothing, 0 the stem, i also the first i stages.
        norm_eval: keep BatchNorm in evaluation mode while training.
        pretrained: OpenAI archive, open_clip tag or other source; see ``denseclip.models.clip_weights``.
    """

    def __init__(
        self,
        model: str = 'RN50',
        layers: Sequence[int] | None = None,
        width: int | None = None,
        embed_dim: int | None = None,
        input_resolution: int | None = None,
        heads: int | None = None,
        with_pixel_text: bool = True,
        pos_resize: str = 'bilinear',
        frozen_stages: int = -1,
        norm_eval: bool = False,
        pretrained: Pretrained | None = None,
    ) -> None:
        config = _architecture(model)
        visual = build_resnet(
            layers or config['vision_cfg']['layers'],
            width=width or config['vision_cfg']['width'],
            embed_dim=embed_dim or config['embed_dim'],
            image_size=input_resolution or config['vision_cfg']['image_size'],
            heads=heads,
            attention_pool=with_pixel_text,
        )
        read_out = DenseReadOut(dense=with_pixel_text, pooled=with_pixel_text, pos_resize=pos_resize)
        super().__init__(ResNetTower(visual, read_out, preprocess_of(pretrained, model)), pretrained, model)
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f'CLIPResNet has 4 stages: frozen_stages must be in -1..4, got {frozen_stages}.')
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._freeze_stages()

    def position_grid(self) -> tuple[int, int] | None:
        """Grid of the attention pool."""
        pool = self.tower.visual.attnpool
        if pool is None:
            return None
        side = round((pool.positional_embedding.shape[0] - 1) ** 0.5)
        return side, side

    def _freeze_stages(self) -> None:
        visual = self.tower.visual
        if self.frozen_stages >= 0:
            freeze(visual.conv1, visual.bn1, visual.conv2, visual.bn2, visual.conv3, visual.bn3)
        for stage in range(1, self.frozen_stages + 1):
            freeze(getattr(visual, f'layer{stage}'))

    def forward(self, x: Tensor) -> tuple[Tensor | Embedding, ...]:
        """Stages (N, 4w..32w, H/4..H/32, ...), then ``(pooled (N, E), dense (N, E, H/32, W/32))``."""
        out = self.tower(x)
        return *out.stages, *self.embeddings(out.pooled, out.dense)


def _architecture(model: str) -> dict[str, Any]:
    config = open_clip.get_model_config(model)
    if config is None or not isinstance(config['vision_cfg'].get('layers'), list):
        known = [name for name in open_clip.list_models() if name.startswith('RN')]
        raise ValueError(f'CLIPResNet: "{model}" is no CLIP ResNet; open_clip has {", ".join(known)}.')
    return config
