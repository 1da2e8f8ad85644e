"""Losses; importing this package registers them."""

from .box_pixel_text import BoxPixelTextLoss
from .class_balanced import ClassBalancedCrossEntropyLoss

__all__ = ['BoxPixelTextLoss', 'ClassBalancedCrossEntropyLoss']
