"""Image backbones."""

from .attention_pool_backbone import AttentionPoolBackbone
from .clip_convnext import CLIPConvNeXt
from .clip_mask_trunk import CLIPMaskTrunk, TrunkFeatures
from .clip_resnet import CLIPResNet
from .clip_vit import CLIPVisionTransformer
from .timm_trunk import TimmTrunk

__all__ = [
    'AttentionPoolBackbone',
    'CLIPConvNeXt',
    'CLIPMaskTrunk',
    'CLIPResNet',
    'CLIPVisionTransformer',
    'TimmTrunk',
    'TrunkFeatures',
]
