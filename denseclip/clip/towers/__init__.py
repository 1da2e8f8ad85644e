"""Image towers: open_clip's networks with dense read-outs, all answering the same call."""

from .attention_pool import attention_pool, masked_attention_pool, value_projection
from .base import DenseReadOut, ImageTower, TowerOutput
from .build import FIXED_SIZE, build_image_tower
from .resnet import ResNetTower, build_resnet
from .rotary import rotary_table
from .timm_conv import ConvTrunkTower
from .timm_vit import TimmViTTower
from .vit import ViTTower, build_vit

__all__ = [
    'FIXED_SIZE',
    'ConvTrunkTower',
    'TimmViTTower',
    'build_image_tower',
    'DenseReadOut',
    'ImageTower',
    'ResNetTower',
    'TowerOutput',
    'ViTTower',
    'attention_pool',
    'build_resnet',
    'build_vit',
    'masked_attention_pool',
    'rotary_table',
    'value_projection',
]
