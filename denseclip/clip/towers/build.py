"""The right tower for whatever open_clip built."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from ..errors import NoReadOutError
from ..preprocess import PreprocessSpec
from .base import DenseReadOut, ImageTower
from .resnet import ResNetTower
from .timm_conv import ConvTrunkTower
from .timm_vit import TimmViTTower
from .vit import ViTTower

FIXED_SIZE: Mapping[str, str] = MappingProxyType(
    {
        'swin_base_patch4_window7_224': 'the masks of its shifted windows are made for one size',
        'vit_relpos_medium_patch16_cls_224': 'its blocks have biases for the distances on one grid',
    }
)
"""Architectures whose towers take pictures of one size only, each with the reason. open_clip has no weights for them.

All architectures of open_clip have a dense read-out; those not listed here take pictures of any size.
"""


def build_image_tower(
    visual: nn.Module, read_out: DenseReadOut | None = None, preprocess: PreprocessSpec | None = None, **options: Any
) -> ImageTower:
    """Wrap an open_clip image tower.

    Args:
        visual: ``model.visual`` of any open_clip model; it is shared, not copied.
        read_out: What to return.
        preprocess: Of the weights.
        **options: Further arguments of the tower's class (``drop_path_rate`` of a ViT).

    Raises:
        ValueError: If there is no dense read-out for this kind of module.
    """
    if isinstance(visual, ModifiedResNet):
        return ResNetTower(visual, read_out, preprocess, **options)
    if isinstance(visual, VisionTransformer):
        return ViTTower(visual, read_out, preprocess, **options)
    if isinstance(visual, TimmModel):
        kind = TimmViTTower if hasattr(visual.trunk, 'blocks') else ConvTrunkTower
        return kind(visual, read_out, preprocess, **options)
    raise NoReadOutError(
        f'no dense read-out for {type(visual).__name__}; use a ResNet, ViT, ConvNeXt or timm ViT of open_clip.'
    )
