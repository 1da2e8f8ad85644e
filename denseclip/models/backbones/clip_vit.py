"""CLIP's vision transformers as MMSeg backbones with a feature pyramid made from one resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut, ViTTower, build_vit
from denseclip.models.clip_weights import Pretrained, preprocess_of, quick_gelu_of

from .base import CLIPBackbone, Embedding


@MODELS.register_module()
class CLIPVisionTransformer(CLIPBackbone):
    """Taps after four blocks, rescaled to strides 4 to 32, and embeddings of the picture and of every patch.

    Args:
        model: open_clip architecture that gives the defaults of the sizes, such as ``'ViT-B-16'``.
        input_resolution: picture side that the position grid is made for (the training crop); None is the model's own.
        patch_size: 16 or 8.
        width: token width.
        layers: number of blocks.
        heads: attention heads.
        embed_dim: dimension E of the joint space.
        out_indices: four 0-based blocks whose patch tokens become the stages; None spreads them evenly (the 4th, 6th,
            8th and last of 12, as the authors).
        with_pixel_text: False leaves ``ln_post`` and the projection out: a plain feature backbone.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.
        double_class_embedding: add the class embedding to the class token twice, as the authors' code does and as
            their released weights were trained.
        norm_cfg: norm of the stride-4 branch; the authors use SyncBN.
        quick_gelu: OpenAI's activation or, when False, the exact GELU; None is what the weights were trained with.
        grad_checkpointing: recompute blocks in the backward pass to save memory.
        pretrained: OpenAI archive, open_clip tag or other source; see ``denseclip.models.clip_weights``.
    """

    def __init__(
        self,
        model: str = 'ViT-B-16',
        input_resolution: int | None = None,
        patch_size: int | None = None,
        width: int | None = None,
        layers: int | None = None,
        heads: int | None = None,
        embed_dim: int | None = None,
        out_indices: Sequence[int] | None = None,
        with_pixel_text: bool = True,
        drop_path_rate: float = 0.0,
        double_class_embedding: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        quick_gelu: bool | None = None,
        grad_checkpointing: bool = False,
        pretrained: Pretrained | None = None,
    ) -> None:
        config = _architecture(model)
        vision = config['vision_cfg']
        width, layers = width or vision['width'], layers or vision['layers']
        patch_size = patch_size or vision['patch_size']
        visual = build_vit(
            image_size=input_resolution or vision['image_size'],
            patch_size=patch_size,
            width=width,
            layers=layers,
            heads=heads or width // vision.get('head_width', 64),
            embed_dim=embed_dim or config['embed_dim'],
            quick_gelu=quick_gelu_of(pretrained, model) if quick_gelu is None else quick_gelu,
            projection=with_pixel_text,
        )
        taps = tuple(out_indices) if out_indices is not None else tuple(layers * i // 12 - 1 for i in (4, 6, 8, 12))
        read_out = DenseReadOut(
            out_indices=taps,
            dense=with_pixel_text,
            pooled=with_pixel_text,
            double_class_embedding=double_class_embedding,
        )
        tower = ViTTower(visual, read_out, preprocess_of(pretrained, model), drop_path_rate)
        super().__init__(tower, pretrained, model)
        self.tower.grad_checkpointing = grad_checkpointing
        branches = _pyramid(width, patch_size, norm_cfg or dict(type='SyncBN'))
        if len(taps) != len(branches):
            raise ValueError(f'CLIPVisionTransformer needs four out_indices, got {list(taps)}.')
        self.fpn1, self.fpn2, self.fpn3, self.fpn4 = branches

    def position_grid(self) -> tuple[int, int] | None:
        """Grid of patch positions."""
        return self.tower.visual.grid_size

    def forward(self, x: Tensor) -> tuple[Tensor | Embedding, ...]:
        """Stages (N, width, H/4..H/32, ...), then ``(pooled (N, E), dense (N, E, H/p, W/p))``."""
        out = self.tower(x)
        branches = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        stages = [branch(tap.contiguous()) for branch, tap in zip(branches, out.stages, strict=True)]
        return *stages, *self.embeddings(out.pooled, out.dense)


def _pyramid(width: int, patch_size: int, norm_cfg: dict[str, Any]) -> list[nn.Module]:
    """The four branches from the patch grid to strides 4, 8, 16 and 32 (names as in the authors' checkpoints)."""

    def norm() -> nn.Module:
        return nn.GroupNorm(1, width)

    def double() -> nn.Module:
        return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)

    if patch_size == 16:
        batch_norm = build_norm_layer(norm_cfg, width)[1]
        return [
            nn.Sequential(norm(), double(), batch_norm, nn.GELU(), double()),
            nn.Sequential(norm(), double()),
            norm(),
            nn.Sequential(norm(), nn.MaxPool2d(2)),
        ]
    if patch_size == 8:
        return [
            nn.Sequential(norm(), double()),
            norm(),
            nn.Sequential(norm(), nn.MaxPool2d(2)),
            nn.Sequential(norm(), nn.MaxPool2d(4)),
        ]
    raise ValueError(f'CLIPVisionTransformer makes a pyramid from patches of 16 or 8 pixels, not {patch_size}.')


def _architecture(model: str) -> dict[str, Any]:
    config = open_clip.get_model_config(model)
    if config is None or 'width' not in config['vision_cfg'] or isinstance(config['vision_cfg'].get('layers'), list):
        raise ValueError(f'CLIPVisionTransformer: "{model}" is no ViT of open_clip; try "ViT-B-16".')
    return config
