"""Detectors."""

from .denseclip import DenseCLIPMaskRCNN, DenseCLIPRetinaNet

__all__ = ['DenseCLIPMaskRCNN', 'DenseCLIPRetinaNet']
