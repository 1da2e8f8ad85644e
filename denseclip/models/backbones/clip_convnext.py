"""CLIP's ConvNeXts (and other convolutional timm trunks of open_clip) as MMSeg backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from mmengine.registry import MODELS
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from denseclip.clip.towers import ConvTrunkTower, DenseReadOut
from denseclip.models.clip_weights import Pretrained, preprocess_of

from .base import CLIPBackbone, Embedding


@MODELS.register_module()
class CLIPConvNeXt(CLIPBackbone):
    """Four stages at strides 4 to 32 and embeddings of the picture and of every pixel of the last one.

    Not in the DenseCLIP paper: the pixel embedding is the trunk's norm and projection at every pixel, as FC-CLIP reads
    ConvNeXt.

    Args:
        model: open_clip architecture, such as ``'convnext_base_w'``.
        out_indices: stages to return.
        with_pixel_text: False leaves the projection out: a plain feature backbone.
        drop_path_rate: stochastic depth; None is the architecture's own.
        pretrained: open_clip tag or other source; see ``denseclip.models.clip_weights``.
    """

    def __init__(
        self,
        model: str = 'convnext_base_w',
        out_indices: Sequence[int] = (0, 1, 2, 3),
        with_pixel_text: bool = True,
        drop_path_rate: float | None = None,
        pretrained: Pretrained | None = None,
    ) -> None:
        visual = _build_trunk(model, drop_path_rate)
        read_out = DenseReadOut(out_indices=tuple(out_indices), dense=with_pixel_text, pooled=with_pixel_text)
        tower = ConvTrunkTower(visual, read_out, preprocess_of(pretrained, model))
        super().__init__(tower, pretrained, model)
        if not with_pixel_text:
            visual.head = visual.trunk.head = nn.Identity()

    def position_grid(self) -> tuple[int, int] | None:
        """None: convolutions have no learned positions."""
        return None

    def forward(self, x: Tensor) -> tuple[Tensor | Embedding, ...]:
        """Stages (N, C_i, H/4..H/32, ...), then ``(pooled (N, E), dense (N, E, H/32, W/32))``."""
        out = self.tower(x)
        return *out.stages, *self.embeddings(out.pooled, out.dense)


def _build_trunk(model: str, drop_path_rate: float | None) -> TimmModel:
    config: dict[str, Any] | None = open_clip.get_model_config(model)
    vision = (config or {}).get('vision_cfg', {})
    if config is None or 'timm_model_name' not in vision:
        known = [name for name in open_clip.list_models() if name.startswith('convnext')]
        raise ValueError(f'CLIPConvNeXt: "{model}" is no timm trunk of open_clip; there are {", ".join(known)}.')
    return TimmModel(
        vision['timm_model_name'],
        embed_dim=config['embed_dim'],
        image_size=vision['image_size'],
        pool=vision.get('timm_pool', 'avg'),
        proj=vision.get('timm_proj', 'linear'),
        proj_bias=vision.get('timm_proj_bias', False),
        drop=vision.get('timm_drop', 0.0),
        drop_path=vision.get('timm_drop_path') if drop_path_rate is None else drop_path_rate,
    )
