"""Image towers: open_clip's networks with dense read-outs, all answering the same call."""

from .attention_pool import attention_pool, value_projection
from .base import DenseReadOut, ImageTower, TowerOutput
from .resnet import ResNetTower, build_resnet
from .vit import ViTTower, build_vit

__all__ = [
    'DenseReadOut',
    'ImageTower',
    'ResNetTower',
    'TowerOutput',
    'ViTTower',
    'attention_pool',
    'build_resnet',
    'build_vit',
    'value_projection',
]
