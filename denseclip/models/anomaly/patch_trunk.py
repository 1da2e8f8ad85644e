"""Features of patches for comparing pictures with pictures, from any trunk of the suite; no words are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.towers import DenseReadOut, ImageTower
from denseclip.models.backbones.timm_trunk import TimmTrunk
from denseclip.models.functional.mutual_scores import neighbourhoods
from denseclip.models.teachers.dino import DINOTower

from .clip_parts import load_parts


class PatchTrunk(nn.Module):
    """One vector for every place of a picture: several layers, each averaged over its neighbourhood, side by side.

    Args:
        trunk: A config: ``dict(type='TimmTrunk', ...)`` (its ``out_indices`` are taken), ``dict(type='DINOTower',
            ...)`` (tokens of the last block), or ``dict(type='CLIP', model=..., pretrained=...)`` (arguments of
            ``load_clip``; ``layers`` says which blocks or stages, by default those at a half and three quarters).
        grid: Whose grid the layers are brought to: ``'finest'`` or ``'coarsest'``.
        neighbourhood: Side of the window that a place is averaged over.

    Raises:
        ValueError: If the trunk is of another kind.
    """

    def __init__(self, trunk: Mapping[str, Any], grid: str = 'finest', neighbourhood: int = 3) -> None:
        super().__init__()
        if grid not in ('finest', 'coarsest'):
            raise ValueError(f"grid='{grid}' is unknown; choose from finest, coarsest.")
        self.grid, self.neighbourhood = grid, neighbourhood
        spec = dict(trunk)
        if spec.get('type') == 'CLIP':
            spec.pop('type')
            layers = spec.pop('layers', None)
            loaded = load_parts(spec)
            depth = _depth(loaded.image_tower(DenseReadOut(dense=False)))
            taken = tuple(layers) if layers is not None else (depth // 2 - 1, depth * 3 // 4 - 1)
            self.trunk: Any = loaded.image_tower(
                DenseReadOut(out_indices=taken, dense=False, pooled=False, pos_resize='bicubic', antialias=True)
            )
        else:
            self.trunk = MODELS.build(spec)
        if not isinstance(self.trunk, TimmTrunk | DINOTower | ImageTower):
            raise ValueError(
                f'{type(self.trunk).__name__} gives no patches to compare: use TimmTrunk, DINOTower or CLIP.'
            )
        self.preprocess: PreprocessSpec = self.trunk.preprocess or PreprocessSpec()
        self.eval().requires_grad_(False)

    @property
    def multiple(self) -> int:
        """What height and width of pictures should be multiples of."""
        if isinstance(self.trunk, TimmTrunk):
            return max(self.trunk.strides)
        return self.trunk.patch_size if isinstance(self.trunk, DINOTower) else max(self.trunk.multiple)

    def train(self, mode: bool = True) -> PatchTrunk:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    def layers(self, images: Tensor) -> Sequence[Tensor]:
        """Maps of the layers of normalised pictures (N, 3, H, W), each (N, C, h, w)."""
        if isinstance(self.trunk, DINOTower):
            tokens = self.trunk(images, tokens=True).tokens
            assert tokens is not None
            return [tokens]
        if isinstance(self.trunk, ImageTower):
            return self.trunk(images).stages
        self.trunk.need_weights()
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of all places, (N, C, h, w) in float32."""
        maps = [neighbourhoods(layer.float(), self.neighbourhood) for layer in self.layers(images)]
        key = {'finest': max, 'coarsest': min}[self.grid]
        size = key(((m.shape[-2], m.shape[-1]) for m in maps), key=lambda s: s[0] * s[1])
        return torch.cat([_to_grid(m, size) for m in maps], dim=1) / len(maps) ** 0.5


def _to_grid(features: Tensor, size: tuple[int, int]) -> Tensor:
    if features.shape[-2] > size[0]:
        return F.adaptive_avg_pool2d(features, size)
    return F.interpolate(features, size=size, mode='bilinear', align_corners=False)


def _depth(tower: ImageTower) -> int:
    """Number of blocks of a transformer, or of stages."""
    visual: Any = tower.visual
    blocks = getattr(getattr(visual, 'transformer', None), 'resblocks', None)
    blocks = blocks if blocks is not None else getattr(getattr(visual, 'trunk', None), 'blocks', None)
    return len(blocks) if blocks is not None else 4
