"""Segmentors."""

from .denseclip import DenseCLIP
from .tta import DenseSegTTAModel

__all__ = ['DenseCLIP', 'DenseSegTTAModel']
