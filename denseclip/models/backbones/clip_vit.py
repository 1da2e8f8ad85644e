"""CLIP's vision transformers as MMSeg backbones with a feature pyramid made from one resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut, ViTTower, build_vit
from denseclip.clip.towers.windowed_vit import WindowedViTTower
from denseclip.models.clip_weights import Pretrained, preprocess_of, quick_gelu_of

from .base import CLIPBackbone, Embedding

STRIDES = (4, 8, 16, 32)
"""Strides that the pyramid can make."""


@MODELS.register_module()
class CLIPVisionTransformer(CLIPBackbone):
    """Taps after some blocks, rescaled to strides 4 to 32, and embeddings of the picture and of every patch.

    Args:
        model: open_clip architecture that gives the defaults of the sizes, such as ``'ViT-B-16'``.
        input_resolution: picture side that the position grid is made for (the training crop); None is the model's own.
        patch_size: 16 or 8.
        width: token width.
        layers: number of blocks.
        heads: attention heads.
        embed_dim: dimension E of the joint space.
        out_indices: 0-based blocks whose patch tokens become the stages, one for each of ``strides``; None takes the
            4th, 6th, 8th and last of 12 for strides 4, 8, 16 and 32, as the authors.
        strides: strides of the stages; detectors that start at 8 save the large map of stride 4.
        with_pixel_text: False leaves ``ln_post`` and the projection out: a plain feature backbone.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.
        double_class_embedding: add the class embedding to the class token twice, as the authors' code does and as
            their released weights were trained.
        norm_cfg: norm of the stride-4 branch; the authors use SyncBN.
        quick_gelu: OpenAI's activation or, when False, the exact GELU; None is what the weights were trained with.
        grad_checkpointing: recompute blocks in the backward pass to save memory.
        window_size: side in patches of the windows that attention is kept within, for large pictures; None attends to
            everything in every block, as trained.
        global_blocks: with windows, the 0-based blocks that attend to everything; None: four, evenly spread.
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
        strides: Sequence[int] = STRIDES,
        with_pixel_text: bool = True,
        drop_path_rate: float = 0.0,
        double_class_embedding: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        quick_gelu: bool | None = None,
        grad_checkpointing: bool = False,
        window_size: int | None = None,
        global_blocks: Sequence[int] | None = None,
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
        self.levels = _levels(strides)
        defaults = [layers * i // 12 - 1 for i in (4, 6, 8, 12)]
        taps = tuple(out_indices) if out_indices is not None else tuple(defaults[level - 1] for level in self.levels)
        if len(taps) != len(self.levels):
            raise ValueError(
                f'CLIPVisionTransformer: {len(self.levels)} strides need as many out_indices, got {list(taps)}.'
            )
        read_out = DenseReadOut(
            out_indices=taps,
            dense=with_pixel_text,
            pooled=with_pixel_text,
            double_class_embedding=double_class_embedding,
        )
        options: dict[str, Any] = dict(preprocess=preprocess_of(pretrained, model), drop_path_rate=drop_path_rate)
        if window_size is None:
            tower = ViTTower(visual, read_out, **options)
        else:
            tower = WindowedViTTower(visual, read_out, window_size=window_size, global_blocks=global_blocks, **options)
        super().__init__(tower, pretrained, model)
        self.tower.grad_checkpointing = grad_checkpointing
        branches = feature_pyramid(width, patch_size, norm_cfg or dict(type='SyncBN'))
        for level in self.levels:
            self.add_module(f'fpn{level}', branches[level - 1])

    def position_grid(self) -> tuple[int, int] | None:
        """Grid of patch positions."""
        return self.tower.visual.grid_size

    def forward(self, x: Tensor) -> tuple[Tensor | Embedding, ...]:
        """Stages (N, width, H/s, W/s) of the strides s, then ``(pooled (N, E), dense (N, E, H/p, W/p))``."""
        out = self.tower(x)
        branches = [self.get_submodule(f'fpn{level}') for level in self.levels]
        stages = [branch(tap.contiguous()) for branch, tap in zip(branches, out.stages, strict=True)]
        return *stages, *self.embeddings(out.pooled, out.dense)


def _levels(strides: Sequence[int]) -> list[int]:
    """Numbers 1..4 of the pyramid's branches that make these strides."""
    if not strides or any(s not in STRIDES for s in strides) or list(strides) != sorted(set(strides)):
        raise ValueError(f'CLIPVisionTransformer makes strides out of {STRIDES}, in rising order; got {list(strides)}.')
    return [STRIDES.index(stride) + 1 for stride in strides]


def feature_pyramid(width: int, patch_size: int, norm_cfg: dict[str, Any]) -> list[nn.Module]:
    """The four branches from the patch grid to strides 4, 8, 16 and 32 (names as in the authors' checkpoints).

    Args:
        width: Channels of the tokens and of all four maps.
        patch_size: 16 or 8.
        norm_cfg: Norm of the stride-4 branch.

    Raises:
        ValueError: For another patch size.
    """

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
