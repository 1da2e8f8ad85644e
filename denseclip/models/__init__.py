"""Models; importing this package registers them in MMEngine's root registry."""

from . import backbones, heads, losses, segmentors, text_encoders

__all__ = ['backbones', 'heads', 'losses', 'segmentors', 'text_encoders']
